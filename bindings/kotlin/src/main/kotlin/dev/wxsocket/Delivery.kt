package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import dev.wxsocket.ffi.wakeTask
import java.lang.ref.WeakReference
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import java.util.logging.Level
import dev.wxsocket.ffi.SocketTask as FfiTask

/** Somebody who is not in its place yet. */
private class Newcomer(val subscriber: Subscriber, task: FfiTask) {
    /** A task that nobody refers to is freed although somebody waits for its turn to go on. */
    private val held = WeakReference(task)

    /** Until a turn begins, which is at once, nobody else may refer to it. */
    private var task: FfiTask? = task

    /** What it is told first: the open if the connection is open, else the last close and its error. */
    var present: List<SocketEvent> = emptyList()
        private set

    /** Called within a turn. The present state is as of that turn, in which it gets its place. */
    fun meetTurn() {
        task = null
        val task = held.get() ?: return
        present = task.presentState().map { it.lift() }.filter { subscriber.kinds and it.kind != 0 }
        // What is not taken yet comes in later turns, and then it is in its place.
        task.listen(subscriber.kinds and MESSAGE != 0)
    }
}

/**
 * One task's way from the engine to whoever listens.
 *
 * A turn goes two ways. Collectors are given its events at once, by the thread that took the turn;
 * listeners are called by that thread or on the app's executor, which may take its time. The turn
 * ends when listeners have heard it and all collectors have room again; until then the engine gives
 * no other, and in the end the server waits.
 *
 * Whoever comes late is admitted within a turn, after the turn's step (an open, an error or a
 * close; it comes first): the engine's `presentState` is that of then, and holds for the rest of the
 * turn. What the newcomer hears of that rest, [Progress] says.
 *
 * It must not know the task: a task that nobody refers to is to be freed, and this is known to
 * the threads of [Turns] for as long as the task lives.
 */
internal class Delivery(
    val number: Long,
    val executor: Executor?,
    state: SocketState,
    /** Those who are there from the first event on. */
    first: List<Subscriber>,
) {
    val news = News(state) {
        synchronized(lock) { forgetIfOver() }
    }
    val failures = AtomicLong()

    /** The connection that was ended for a message that did not fit; no more of its are read. */
    @Volatile var refused = 0L

    /** How much time the app's executor has to begin a turn, as [Errands] counts it. */
    @Volatile var patience = 0

    /** Guards who is where and what the turn is at; none of the app's code is called under it. */
    private val lock = Any()

    @Volatile private var listeners: List<Listener>

    @Volatile private var inboxes: List<Inbox>

    /** Those who are to be admitted. */
    private val joining = ConcurrentLinkedQueue<Newcomer>()

    /** A turn is under way. */
    private var isTurn = false

    private val progress = Progress()

    /** Somebody tells listeners, or will. */
    private var isTelling = false

    /** Listeners have heard it all, and nobody tells them anything; some inbox has no room. */
    @Volatile private var isStalled = false

    /** The last event of the task was in a turn. */
    private var isOver = false

    init {
        for (subscriber in first) if (subscriber is Collector) {
            subscriber.inbox.delivery = this
            subscriber.leaveWhenUnreachable()
        }
        listeners = first.filterIsInstance<Listener>()
        inboxes = first.filterIsInstance<Collector>().map { it.inbox }.filterNot { it.gone }
    }

    /** Has [subscriber] hear what happens to [task] from now on, beginning with how things are. */
    fun add(subscriber: Subscriber, task: FfiTask) {
        val inbox = (subscriber as? Collector)?.inbox
        inbox?.delivery = this
        val newcomer = Newcomer(inbox ?: subscriber, task)
        synchronized(lock) {
            if (isTurn) newcomer.meetTurn()
            // Not in a moment: whoever collects may be a listener that waits for it. Nobody takes from
            // it yet, so this calls nobody.
            if (isTurn && inbox != null) return admit(inbox, newcomer.present) { give(inbox, it) }
            joining += newcomer
            if (isTelling || isStalled && tellAside()) return
            Turns.add(this)
        }
        // Should the turn have begun meanwhile, there is one without events.
        wakeTask(number)
    }

    /** Puts an inbox in its place, within a turn; [give] gives it what it hears of the turn. */
    private inline fun admit(inbox: Inbox, present: List<SocketEvent>, give: (List<SocketEvent>) -> Unit) {
        val heard = present + progress.enter(inbox, present.size, inboxes)
        val all = inboxes + inbox
        give(heard)
        // Last, and without any memory: what fails before may be done again.
        inboxes = all
    }

    fun remove(subscriber: Subscriber): Unit = remove { it === subscriber }

    /** Removes a listener by its function; `null`: all of these [kinds]. */
    fun off(kinds: Int, function: Any?) {
        remove { it is Listener && it.kinds == kinds && (function == null || it.function == function) }
    }

    private fun remove(which: (Subscriber) -> Boolean) {
        synchronized(lock) {
            val (going, staying) = listeners.partition(which)
            val (left, collecting) = inboxes.partition(which)
            // A turn may be about to tell them, out of a list that it has already.
            for (subscriber in going + left + joining.map { it.subscriber }.filter(which)) subscriber.gone = true
            joining.removeAll { which(it.subscriber) }
            listeners = staying
            inboxes = collecting
            left.forEach(progress::leave)
        }
        resume()
    }

    /** Calls [action] once when the task is over, and keeps nobody alive until then. */
    fun whenOver(action: () -> Unit): AutoCloseable {
        val done = AtomicBoolean()
        val waiter = News.Waiter(keep = null) { bulletin ->
            (bulletin.end != null).also { if (it && done.compareAndSet(false, true)) action() }
        }
        news.add(waiter)
        return AutoCloseable {
            done.set(true)
            news.remove(waiter)
        }
    }

    // ---- turns --------------------------------------------------------------------------

    /**
     * Begins a turn: sets the state, gives the events to the collectors, and admits those that have
     * come. True: there is something for listeners, which [carryOut] tells them.
     */
    fun begin(turn: Turn): Boolean {
        // Before the events, so that whoever is told of an open sees the state open.
        patiently { news.stand(turn.version, turn.state) }
        val audience: List<Inbox>
        val admitted: List<Pair<Inbox, List<SocketEvent>>>
        synchronized(lock) {
            audience = inboxes
            admitted = accept(turn.events)
        }
        // Not under the lock: on some dispatchers this goes on with whoever collects.
        val fresh = turn.events
        for (i in audience.indices) give(audience[i], fresh)
        for (i in admitted.indices) give(admitted[i].first, admitted[i].second)
        return synchronized(lock) {
            // Of a task that is over there may be two at once.
            if (isTelling) return false
            isTelling = !joining.isEmpty() || patiently { isWanted() }
            if (!isTelling) progress.told = progress.events.size
            isTelling
        }
    }

    /** Takes events in, and admits the collectors that came between two turns. What each of those hears. */
    private fun accept(fresh: List<SocketEvent>): List<Pair<Inbox, List<SocketEvent>>> {
        patiently { progress.begin(fresh, inboxes) }
        // A step is the first of a turn.
        isOver = isOver || fresh.firstOrNull()?.isFinal == true
        isTurn = true
        if (joining.isEmpty()) return emptyList()
        val admitted = patiently { ArrayList<Pair<Inbox, List<SocketEvent>>>() }
        for (newcomer in joining) {
            patiently { newcomer.meetTurn() }
            val inbox = newcomer.subscriber as? Inbox ?: continue
            // Before anybody takes one of these events, for which it has waited as the others have.
            patiently { admit(inbox, newcomer.present) { admitted += inbox to it } }
            joining -= newcomer
        }
        return admitted
    }

    private fun isWanted(): Boolean {
        val kinds = listeners.fold(0) { kinds, listener -> kinds or listener.kinds }
        return (progress.told until progress.events.size).any { progress.events[it].kind and kinds != 0 }
    }

    /** Tells listeners; then true: the turn is over. False: it goes on until collectors have room. */
    fun carryOut(): Boolean =
        try {
            patiently {
                do tellAll() while (!isTold())
            }
            end()
        } catch (e: Throwable) {
            // Nothing of the app's gets here; a turn that does not end would be the last of its task.
            complain(Level.SEVERE, e) { "a turn failed" }
            putBack()
            true
        }

    private fun tellAll() {
        while (true) {
            if (progress.told >= progress.settled && admitListener()) continue
            if (progress.isTold) return
            val event = progress.events[progress.told]
            val audience = listeners
            // Before it is told: who begins to listen meanwhile hears the next one first.
            progress.told++
            for (i in audience.indices) tell(audience[i], event)
        }
    }

    /** False: none has come. */
    private fun admitListener(): Boolean {
        if (joining.isEmpty()) return false
        val newcomer: Newcomer
        synchronized(lock) {
            newcomer = joining.firstOrNull { it.subscriber is Listener } ?: return false
            listeners = listeners + newcomer.subscriber as Listener
            joining -= newcomer
        }
        give(newcomer.subscriber, newcomer.present)
        return true
    }

    /** True: nobody tells listeners any more. */
    private fun isTold(): Boolean = synchronized(lock) {
        isTelling = !progress.isTold || hasNewListener()
        !isTelling
    }

    private fun hasNewListener() = joining.any { it.subscriber is Listener }

    /** Takes a turn back that was not carried out; the next one brings its events again. */
    fun putBack(): Unit = synchronized(lock) {
        isTelling = false
        // Whoever comes now waits for that one.
        isTurn = false
    }

    /** Ends the turn if it is over; it is the caller who tells the engine. */
    fun end(): Boolean = synchronized(lock) {
        if (isTelling) return false
        progress.end()
        isStalled = true
        // Whoever makes room after this line sees it. After the last event there is no need for room.
        if (!isOver && !inboxes.all { it.hasRoom }) {
            if (hasNewListener()) tellAside()
            return false
        }
        isStalled = false
        isTurn = false
        forgetIfOver()
        true
    }

    /**
     * Has new listeners told how things are while some collector keeps the turn from its end.
     * False: there is no thread for that, and they are told when the turn ends.
     */
    private fun tellAside(): Boolean {
        if (!Turns.carryOut(this)) return false
        isStalled = false
        isTelling = true
        return true
    }

    /** Somebody who had no room may have some now. */
    fun resume() {
        if (isStalled && inboxes.all { it.hasRoom } && synchronized(lock) { isStalled && end() }) {
            endTurn(number, false)
        }
    }

    /** Everything is told; whoever comes now asks for a turn anew. */
    private fun forgetIfOver() {
        val isHeard = isOver && progress.isTold && !isTurn && joining.isEmpty()
        if (isHeard && news.known.end != null) Turns.remove(this)
    }

    private fun give(subscriber: Subscriber, events: List<SocketEvent>) {
        for (i in events.indices) tell(subscriber, events[i])
    }

    /** Whatever a listener does to itself, even an `Error`, its task goes on. */
    private fun tell(subscriber: Subscriber, event: SocketEvent) {
        if (!subscriber.wants(event)) return
        try {
            subscriber.tell(event)
        } catch (e: Throwable) {
            failures.incrementAndGet()
            complain(Level.WARNING, e) { "a listener failed" }
        }
    }
}
