package dev.wxsocket

/**
 * Holds the events of the present turn, and how far listeners and collectors are with them.
 *
 * A subscriber that is added within the turn gets the events after the latest of these three: the last event that
 * listeners were called with, the last open, error or close (`presentState` covers it), and the last event that a
 * collector has taken. An event that waits in an inbox does not count.
 *
 * [Delivery] calls all functions under its lock. Only [told] is also changed without it, by the one thread that calls
 * listeners.
 */
internal class Progress {
    /** Where the events of the turn begin among all events that an [Inbox] was given. */
    class Place {
        /** The number of events that the inbox had been given before. */
        var before = 0L

        /** The index in the turn of the first event that the inbox could get. */
        var from = 0
    }

    /** The events of the turn, after those of the turn before that listeners were not called with. */
    @Volatile var events: List<SocketEvent> = emptyList()
        private set

    /** The number of events that listeners were called with, or are being called with. */
    @Volatile var told = 0

    /** The number of events that `presentState` covers. */
    @Volatile var settled = 0
        private set

    /** The largest number of events that a collector had taken when it left. */
    private var left = 0

    val isTold: Boolean get() = told >= events.size

    /** Begins a turn with [fresh] events, which [inboxes] are given after this. */
    fun begin(fresh: List<SocketEvent>, inboxes: List<Inbox>) {
        if (fresh.isEmpty()) return
        val old = if (isTold) emptyList() else events.subList(told, events.size)
        val all = old + fresh
        val steps = all.indexOfLast { it !is MessageEvent } + 1
        // From here on nothing is allocated; whatever fails before can be repeated.
        for (i in inboxes.indices) if (old.isEmpty()) put(inboxes[i], 0, 0) else moveBack(inboxes[i])
        left = if (old.isEmpty()) 0 else maxOf(left - told, 0)
        events = all
        told = 0
        settled = steps
    }

    /** Adapts the place of [inbox] to a list that begins with the event at the index [told]. */
    private fun moveBack(inbox: Inbox) {
        val place = inbox.place
        for (i in place.from until told) if (events[i].kind and inbox.kinds != 0) place.before++
        place.from = maxOf(place.from - told, 0)
    }

    /** Adds [inbox], which got [ahead] events of the present state, and returns the events of the turn that it gets. */
    fun enter(inbox: Inbox, ahead: Int, others: List<Inbox>): List<SocketEvent> {
        val from = others.fold(maxOf(told, settled, left)) { most, other -> maxOf(most, taken(other)) }
        put(inbox, ahead, from)
        return events.subList(from, events.size)
    }

    /** Notes how far [inbox] was when it left. */
    fun leave(inbox: Inbox) {
        left = maxOf(left, taken(inbox))
    }

    /** Ends the turn. */
    fun end() {
        events = emptyList()
        told = 0
        settled = 0
        left = 0
    }

    private fun put(inbox: Inbox, ahead: Int, from: Int) {
        inbox.place.before = inbox.given + ahead
        inbox.place.from = from
    }

    /** Returns the number of events up to the last one that was taken from [inbox]. */
    private fun taken(inbox: Inbox): Int {
        var count = inbox.taken - inbox.place.before
        var at = inbox.place.from
        if (count <= 0) return 0
        while (at < events.size && count > 0) if (events[at++].kind and inbox.kinds != 0) count--
        return minOf(at, events.size)
    }
}
