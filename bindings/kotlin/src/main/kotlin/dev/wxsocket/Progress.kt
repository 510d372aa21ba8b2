package dev.wxsocket

/**
 * The events of the turn that is under way, and how far everybody is with them.
 *
 * Whoever comes within the turn hears the events that follow the furthest of these: what listeners
 * have been told, the step that `presentState` tells of, and what any collector has taken. An event
 * that a collector was given and has not taken does not count: it is still new to everybody.
 *
 * [Delivery] calls everything here under its lock. Only [told] is also moved without it, by the one
 * thread that tells listeners.
 */
internal class Progress {
    /** Where the events of a turn begin among those that an [Inbox] was given. */
    class Place {
        /** How many events the inbox had been given before. */
        var before = 0L

        /** The index in the turn from which on it was given those of its kinds. */
        var from = 0
    }

    /** The turn's events, behind those of the turn before that listeners were not told. */
    @Volatile var events: List<SocketEvent> = emptyList()
        private set

    /** How many of them listeners have been told, or are being told. */
    @Volatile var told = 0

    /** `presentState` is as of that many of them. */
    @Volatile var settled = 0
        private set

    /** How many of them were taken, at least, by a collector that has left. */
    private var left = 0

    val isTold: Boolean get() = told >= events.size

    /** Begins a turn with [fresh] events, which [inboxes] are given after this. */
    fun begin(fresh: List<SocketEvent>, inboxes: List<Inbox>) {
        if (fresh.isEmpty()) return
        val old = if (isTold) emptyList() else events.subList(told, events.size)
        val all = old + fresh
        val steps = all.indexOfLast { it !is MessageEvent } + 1
        // From here on no memory is needed: what fails before may be done again.
        for (i in inboxes.indices) if (old.isEmpty()) put(inboxes[i], 0, 0) else moveBack(inboxes[i])
        left = if (old.isEmpty()) 0 else maxOf(left - told, 0)
        events = all
        told = 0
        settled = steps
    }

    /** Begins with the first event that listeners were not told: the index 0 will be there. */
    private fun moveBack(inbox: Inbox) {
        val place = inbox.place
        for (i in place.from until told) if (events[i].kind and inbox.kinds != 0) place.before++
        place.from = maxOf(place.from - told, 0)
    }

    /** What [inbox] hears of this turn, after [ahead] events of the present state. */
    fun enter(inbox: Inbox, ahead: Int, others: List<Inbox>): List<SocketEvent> {
        val from = others.fold(maxOf(told, settled, left)) { most, other -> maxOf(most, taken(other)) }
        put(inbox, ahead, from)
        return events.subList(from, events.size)
    }

    /** Notes how far [inbox] is, which takes nothing more. */
    fun leave(inbox: Inbox) {
        left = maxOf(left, taken(inbox))
    }

    /** The turn has nothing more to tell. */
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

    /** How many of the events there are up to the last one that was taken out of [inbox]. */
    private fun taken(inbox: Inbox): Int {
        var count = inbox.taken - inbox.place.before
        var at = inbox.place.from
        if (count <= 0) return 0
        while (at < events.size && count > 0) if (events[at++].kind and inbox.kinds != 0) count--
        return minOf(at, events.size)
    }
}
