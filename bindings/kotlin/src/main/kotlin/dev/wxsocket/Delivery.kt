package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import dev.wxsocket.ffi.wakeTask
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import java.util.logging.Level
import dev.wxsocket.ffi.SocketTask as FfiTask

/** Somebody who is not in its place yet, and the task that says what it is told first. */
private class Newcomer(val subscriber: Subscriber, val task: FfiTask) {
    /** The open if the connection is open, else the last close and its error. */
    fun present(): List<SocketEvent> = task.presentState().map { it.lift() }.filter { subscriber.kinds and it.kind != 0 }

    /** It is in its place and was told the present: what comes is for it, too. */
    fun listen(): Unit = task.listen(subscriber.kinds and MESSAGE != 0)
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
 * turn, which the newcomer hears too.
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
    /** Called when the task is over, perhaps more than once. */
    onEnd: () -> Unit = {},
) {
    val news = News(state) {
        onEnd()
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

    @Volatile private var collectors: List<Collector>

    /** Those who are to be admitted. */
    private val joining = ConcurrentLinkedQueue<Newcomer>()

    /** A turn is under way. */
    private var isTurn = false

    /** Its events, and with them what listeners were not told of the one before. */
    @Volatile private var events: List<SocketEvent> = emptyList()

    /** How many of them listeners have been told, or are being told. */
    @Volatile private var told = 0

    /** `presentState` is as of that many of them. */
    @Volatile private var settled = 0

    /** Somebody tells listeners, or will. */
    private var isTelling = false

    /** Listeners have heard it all; some collector has no room. */
    @Volatile private var isStalled = false

    /** The last event of the task was in a turn. */
    private var isOver = false

    init {
        for (subscriber in first) if (subscriber is Collector) subscriber.delivery = this
        listeners = first.filterIsInstance<Listener>()
        collectors = first.filterIsInstance<Collector>().filterNot { it.gone }
    }

    /** Has [subscriber] hear what happens to [task] from now on, beginning with how things are. */
    fun add(subscriber: Subscriber, task: FfiTask) {
        val newcomer = Newcomer(subscriber, task)
        synchronized(lock) {
            if (subscriber is Collector) {
                subscriber.delivery = this
                // Not in a moment: whoever collects may be a listener that waits for it.
                if (isTurn) return admit(subscriber, newcomer)
            }
            joining += newcomer
            if (isTelling) return
            Turns.add(this)
        }
        // Should the turn have begun meanwhile, there is one without events.
        wakeTask(number)
    }

    /** Within a turn, of which it hears what listeners have not heard. */
    private fun admit(collector: Collector, newcomer: Newcomer) {
        val present = newcomer.present()
        val rest = rest()
        collectors = collectors + collector
        // Nobody takes from it yet, so this calls nobody.
        give(collector, present)
        give(collector, rest)
        newcomer.listen()
    }

    /** What a newcomer hears of this turn. */
    private fun rest(): List<SocketEvent> = events.subList(maxOf(told, settled), events.size)

    fun remove(subscriber: Subscriber): Unit = remove { it === subscriber }

    /** Removes a listener by its function; `null`: all of these [kinds]. */
    fun off(kinds: Int, function: Any?) {
        remove { it is Listener && it.kinds == kinds && (function == null || it.function == function) }
    }

    private fun remove(which: (Subscriber) -> Boolean) {
        synchronized(lock) {
            val (going, staying) = listeners.partition(which)
            val (left, collecting) = collectors.partition(which)
            // A turn may be about to tell them, out of a list that it has already.
            for (subscriber in going + left + joining.map { it.subscriber }.filter(which)) subscriber.gone = true
            joining.removeAll { which(it.subscriber) }
            listeners = staying
            collectors = collecting
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
        // Before the events, so that who is told of an open sees the state open.
        patiently { news.stand(turn.version, turn.state) }
        val audience = synchronized(lock) { patiently { accept(turn.events) } }
        val fresh = turn.events
        for (i in audience.indices) give(audience[i], fresh)
        patiently { admitCollectors() }
        return synchronized(lock) {
            // Of a task that is over there may be two at once.
            if (isTelling) return false
            isTelling = !joining.isEmpty() || isWanted()
            if (!isTelling) told = events.size
            isTelling
        }
    }

    /** Takes events in, behind those that were not told. Those who collect already. */
    private fun accept(fresh: List<SocketEvent>): List<Collector> {
        if (fresh.isNotEmpty()) {
            val all = if (told < events.size) events.subList(told, events.size) + fresh else fresh.toList()
            val step = all.indexOfLast { it !is MessageEvent }
            told = 0
            settled = step + 1
            events = all
            isOver = isOver || step >= 0 && all[step].isFinal
        }
        isTurn = true
        return collectors
    }

    /** Admits collectors that came between two turns. */
    private fun admitCollectors() {
        while (true) {
            val present: List<SocketEvent>
            val rest: List<SocketEvent>
            val newcomer: Newcomer
            synchronized(lock) {
                newcomer = joining.firstOrNull { it.subscriber is Collector } ?: return
                present = newcomer.present()
                rest = rest()
                collectors = collectors + newcomer.subscriber as Collector
                joining -= newcomer
            }
            // Not under the lock: on some dispatchers this goes on with whoever collects.
            give(newcomer.subscriber, present)
            give(newcomer.subscriber, rest)
            newcomer.listen()
        }
    }

    private fun isWanted(): Boolean {
        val kinds = listeners.fold(0) { kinds, listener -> kinds or listener.kinds }
        return (told until events.size).any { events[it].kind and kinds != 0 }
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
            if (told >= settled && admitListener()) continue
            if (told >= events.size) return
            val event = events[told]
            val audience = listeners
            // Before it is told: who begins to listen meanwhile hears the next one first.
            told++
            for (i in audience.indices) tell(audience[i], event)
        }
    }

    /** False: none has come. */
    private fun admitListener(): Boolean {
        if (joining.isEmpty()) return false
        val newcomer: Newcomer
        val present: List<SocketEvent>
        synchronized(lock) {
            newcomer = joining.firstOrNull { it.subscriber is Listener } ?: return false
            present = newcomer.present()
            listeners = listeners + newcomer.subscriber as Listener
            joining -= newcomer
        }
        for (i in present.indices) tell(newcomer.subscriber, present[i])
        newcomer.listen()
        return true
    }

    /** True: nobody tells listeners any more. */
    private fun isTold(): Boolean = synchronized(lock) {
        isTelling = told < events.size || joining.any { it.subscriber is Listener }
        !isTelling
    }

    /** Takes a turn back that was not carried out; the next one brings its events again. */
    fun putBack(): Unit = synchronized(lock) { isTelling = false }

    /** Ends the turn if it is over; it is the caller who tells the engine. */
    fun end(): Boolean = synchronized(lock) {
        if (isTelling) return false
        events = emptyList()
        told = 0
        settled = 0
        isStalled = true
        // Whoever makes room after this line sees it.
        if (!collectors.all { it.hasRoom }) return false
        isStalled = false
        isTurn = false
        forgetIfOver()
        true
    }

    /** Somebody who had no room may have some now. */
    fun resume() {
        if (isStalled && collectors.all { it.hasRoom } && synchronized(lock) { isStalled && end() }) {
            endTurn(number, false)
        }
    }

    /** Everything is told; whoever comes now asks for a turn anew. */
    private fun forgetIfOver() {
        if (isOver && !isTurn && news.known.end != null && joining.isEmpty()) Turns.remove(this)
    }

    private fun give(collector: Subscriber, events: List<SocketEvent>) {
        for (i in events.indices) tell(collector, events[i])
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
