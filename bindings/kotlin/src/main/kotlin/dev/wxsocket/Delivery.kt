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

/** A subscriber that was added and does not get events yet. */
private class Newcomer(val subscriber: Subscriber, task: FfiTask) {
    /** Weak: the task may be garbage-collected while this waits for a turn. */
    private val held = WeakReference(task)

    /** Keeps the task until the next turn begins, which is soon: there may be no other reference. */
    private var task: FfiTask? = task

    /** The events that it gets first: the open if the connection is open, else the last close and its error. */
    var present: List<SocketEvent> = emptyList()
        private set

    /** Asks for the present state. It is called within a turn, and the subscriber is added in the same turn. */
    fun meetTurn() {
        task = null
        val task = held.get() ?: return
        present = task.presentState().map { it.lift() }.filter { subscriber.kinds and it.kind != 0 }
        // Later turns bring the events that are still in the engine; by then the subscriber has been added.
        task.listen(subscriber.kinds and MESSAGE != 0)
    }
}

/**
 * Delivers the events of one task to its listeners and collectors.
 *
 * The events of a turn are delivered in two ways. Collectors get them at once, from the thread that took the turn.
 * Listeners are called by that thread or on the app's executor, which may be slow. The turn ends when all listeners
 * have been called and all collectors have room again. Until then the engine gives no other turn of this task, and in
 * the end the server waits.
 *
 * A new subscriber is added within a turn, after the first event of the turn if that is an open, an error or a close:
 * the engine's `presentState` then holds for the rest of the turn. [Progress] decides which events of the rest the new
 * subscriber gets.
 *
 * It must not refer to the [SocketTask]: [Turns] refers to this object as long as the task lives, and a task without
 * other references is to be garbage-collected.
 */
internal class Delivery(
    val number: Long,
    val executor: Executor?,
    state: SocketState,
    /** The subscribers that get all events from the first one on. */
    first: List<Subscriber>,
) {
    val news = News(state) {
        synchronized(lock) { forgetIfOver() }
    }
    val failures = AtomicLong()

    /** The connection that was ended because a message did not fit the heap; its later messages are not read. */
    @Volatile var refused = 0L

    /** How long [Errands] waits for the app's executor to begin a turn; a level, see there. */
    @Volatile var patience = 0

    /** Guards the subscribers and the progress of the turn. No code of the app is called while it is held. */
    private val lock = Any()

    @Volatile private var listeners: List<Listener>

    @Volatile private var inboxes: List<Inbox>

    /** The subscribers that wait to be added. */
    private val joining = ConcurrentLinkedQueue<Newcomer>()

    /** True during a turn. */
    private var isTurn = false

    private val progress = Progress()

    /** True while a thread calls listeners, or is about to. */
    private var isTelling = false

    /** True when all listeners have been called and the turn goes on only because an inbox has no room. */
    @Volatile private var isStalled = false

    /** True from the turn on that brought the last event of the task. */
    private var isOver = false

    init {
        for (subscriber in first) if (subscriber is Collector) {
            subscriber.inbox.delivery = this
            subscriber.leaveWhenUnreachable()
        }
        listeners = first.filterIsInstance<Listener>()
        inboxes = first.filterIsInstance<Collector>().map { it.inbox }.filterNot { it.gone }
    }

    /** Adds a subscriber, which gets the present state of [task] first and then all events. */
    fun add(subscriber: Subscriber, task: FfiTask) {
        val inbox = (subscriber as? Collector)?.inbox
        inbox?.delivery = this
        val newcomer = Newcomer(inbox ?: subscriber, task)
        synchronized(lock) {
            if (isTurn) newcomer.meetTurn()
            // At once: a listener may wait for this collector, and the turn for the listener. No coroutine takes from
            // the inbox yet, so no code of the app is called here.
            if (isTurn && inbox != null) return admit(inbox, newcomer.present) { give(inbox, it) }
            joining += newcomer
            if (isTelling || isStalled && tellAside()) return
            Turns.add(this)
        }
        // If a turn has begun in the meantime, this causes one without events, which does no harm.
        wakeTask(number)
    }

    /** Adds an inbox within a turn. [give] gives it the present state and its part of the turn. */
    private inline fun admit(inbox: Inbox, present: List<SocketEvent>, give: (List<SocketEvent>) -> Unit) {
        val heard = present + progress.enter(inbox, present.size, inboxes)
        val all = inboxes + inbox
        give(heard)
        // Last, because it allocates nothing: whatever fails before it can be repeated.
        inboxes = all
    }

    fun remove(subscriber: Subscriber): Unit = remove { it === subscriber }

    /** Removes a listener by its function; with `null` all listeners of these [kinds]. */
    fun off(kinds: Int, function: Any?) {
        remove { it is Listener && it.kinds == kinds && (function == null || it.function == function) }
    }

    private fun remove(which: (Subscriber) -> Boolean) {
        synchronized(lock) {
            val (going, staying) = listeners.partition(which)
            val (left, collecting) = inboxes.partition(which)
            // A thread may be about to call them, from a list that it has already read.
            for (subscriber in going + left + joining.map { it.subscriber }.filter(which)) subscriber.gone = true
            joining.removeAll { which(it.subscriber) }
            listeners = staying
            inboxes = collecting
            left.forEach(progress::leave)
        }
        resume()
    }

    /** Calls [action] once when the task is over, unless the returned object was closed before. It does not keep the task. */
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
     * Begins a turn: sets the state, gives the events to the collectors, and adds new collectors. Returns true when
     * [carryOut] has to be called, because there are events for listeners.
     */
    fun begin(turn: Turn): Boolean {
        // Before the events: a listener of an open must see the state open.
        patiently { news.stand(turn.version, turn.state) }
        val audience: List<Inbox>
        val admitted: List<Pair<Inbox, List<SocketEvent>>>
        synchronized(lock) {
            audience = inboxes
            admitted = accept(turn.events)
        }
        // Without the lock: on some dispatchers the collecting coroutine runs within this call.
        val fresh = turn.events
        for (i in audience.indices) give(audience[i], fresh)
        for (i in admitted.indices) give(admitted[i].first, admitted[i].second)
        return synchronized(lock) {
            // A task that is over may have two turns at the same time.
            if (isTelling) return false
            isTelling = !joining.isEmpty() || patiently { isWanted() }
            if (!isTelling) progress.told = progress.events.size
            isTelling
        }
    }

    /** Takes the events of a turn and adds the collectors that came before it. Returns what each of these gets. */
    private fun accept(fresh: List<SocketEvent>): List<Pair<Inbox, List<SocketEvent>>> {
        patiently { progress.begin(fresh, inboxes) }
        // An open, an error or a close is always the first event of a turn.
        isOver = isOver || fresh.firstOrNull()?.isFinal == true
        isTurn = true
        if (joining.isEmpty()) return emptyList()
        val admitted = patiently { ArrayList<Pair<Inbox, List<SocketEvent>>>() }
        for (newcomer in joining) {
            patiently { newcomer.meetTurn() }
            val inbox = newcomer.subscriber as? Inbox ?: continue
            // Before any collector takes one of these events: the new one has waited for them as the others have.
            patiently { admit(inbox, newcomer.present) { admitted += inbox to it } }
            joining -= newcomer
        }
        return admitted
    }

    private fun isWanted(): Boolean {
        val kinds = listeners.fold(0) { kinds, listener -> kinds or listener.kinds }
        return (progress.told until progress.events.size).any { progress.events[it].kind and kinds != 0 }
    }

    /** Calls the listeners. Returns true when the turn is over, false when it goes on until collectors have room. */
    fun carryOut(): Boolean =
        try {
            patiently {
                do tellAll() while (!isTold())
            }
            end()
        } catch (e: Throwable) {
            // A bug of the library; exceptions of the app are caught elsewhere. The turn must end all the same, or its task
            // would get no other.
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
            // Before the calls: a listener that one of them adds begins with the next event.
            progress.told++
            for (i in audience.indices) tell(audience[i], event)
        }
    }

    /** Adds the next new listener. Returns false when there is none. */
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

    /** Returns true when no event is left for listeners; then this thread calls listeners no more. */
    private fun isTold(): Boolean = synchronized(lock) {
        isTelling = !progress.isTold || hasNewListener()
        !isTelling
    }

    private fun hasNewListener() = joining.any { it.subscriber is Listener }

    /** Undoes the beginning of a turn that was not carried out; the next turn delivers its events. */
    fun putBack(): Unit = synchronized(lock) {
        isTelling = false
        // A subscriber that comes now is added in that turn.
        isTurn = false
    }

    /** Ends the turn if nothing is left to do, and returns true; then the caller has to tell the engine. */
    fun end(): Boolean = synchronized(lock) {
        if (isTelling) return false
        progress.end()
        isStalled = true
        // A collector that makes room after this line sees it. After the last event no room is needed.
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
     * Gives new listeners the present state while a slow collector keeps the turn from ending. Returns false when
     * there is no thread for that; then they get it when the turn ends.
     */
    private fun tellAside(): Boolean {
        if (!Turns.carryOut(this)) return false
        isStalled = false
        isTelling = true
        return true
    }

    /** Ends the turn if it only waited for room. It is called when a collector has taken an event or has left. */
    fun resume() {
        if (isStalled && inboxes.all { it.hasRoom } && synchronized(lock) { isStalled && end() }) {
            endTurn(number, false)
        }
    }

    /** Leaves [Turns] when everything is delivered; a later subscriber enters it again. */
    private fun forgetIfOver() {
        val isHeard = isOver && progress.isTold && !isTurn && joining.isEmpty()
        if (isHeard && news.known.end != null) Turns.remove(this)
    }

    private fun give(subscriber: Subscriber, events: List<SocketEvent>) {
        for (i in events.indices) tell(subscriber, events[i])
    }

    /** Calls a subscriber. What it throws, an `Error` included, is counted and logged, and the task goes on. */
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
