package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals

/** Where in a turn somebody begins who comes within it; the turns are made by hand. */
class ProgressTest {
    private val progress = Progress()
    private val places = ArrayList<Inbox>()

    private fun message(n: Int): SocketEvent = MessageEvent(1, Message.Text("$n"))

    private fun messages(numbers: IntRange) = numbers.map(::message)

    private val close: SocketEvent = CloseEvent(1, 1006, "", false, Retry(1, null, null), emptyList())

    private fun List<SocketEvent>.names() = map { (it as? MessageEvent)?.text ?: "close" }

    /** A collector that takes as many as it is let. */
    private inner class Taker(kinds: Int = MESSAGE) {
        val inbox = Inbox(kinds)
        private val turnstile = Channel<Unit>(Channel.UNLIMITED)

        init {
            CoroutineScope(Dispatchers.Unconfined).launch {
                turnstile.receive()
                inbox.emitAll(FlowCollector { turnstile.receive() })
            }
        }

        fun take(count: Int) = repeat(count) { turnstile.trySend(Unit) }

        fun enter(present: List<SocketEvent> = emptyList()): List<String> {
            val rest = progress.enter(inbox, present.size, places)
            places += inbox
            give(present + rest)
            return rest.names()
        }

        fun give(events: List<SocketEvent>) = events.filter(inbox::wants).forEach(inbox::tell)
    }

    private fun begin(events: List<SocketEvent>, vararg all: Taker) {
        progress.begin(events, places)
        for (taker in all) taker.give(events)
    }

    @Test
    fun `what was given and not taken is new to everybody`() {
        val (one, two, three) = List(3) { Taker() }
        one.enter()
        begin(messages(1..5), one)
        assertEquals(listOf("1", "2", "3", "4", "5"), two.enter())
        one.take(2)
        assertEquals(2, one.inbox.taken)
        assertEquals(listOf("3", "4", "5"), three.enter())
        progress.told = 4
        assertEquals(listOf("5"), Taker().enter())
    }

    @Test
    fun `what a collector has taken is known after it has left`() {
        val (one, two) = List(2) { Taker() }
        one.enter()
        begin(messages(1..5), one)
        one.take(3)
        progress.leave(one.inbox)
        places -= one.inbox
        assertEquals(listOf("4", "5"), two.enter())
        two.take(1)
        progress.leave(two.inbox)
        places -= two.inbox
        assertEquals(listOf("5"), Taker().enter())
        begin(emptyList())
        assertEquals(listOf("5"), Taker().enter(), "a turn without events changes nothing")
    }

    @Test
    fun `only the events of the turn count, and only those of the kinds`() {
        val one = Taker()
        one.enter()
        begin(messages(1..5), one)
        progress.end()
        // It is still busy with the turn before.
        begin(listOf(close) + messages(6..8), one)
        one.take(4)
        assertEquals(listOf("6", "7", "8"), Taker().enter(present = listOf(close)))
        one.take(2)
        assertEquals(listOf("7", "8"), Taker().enter(present = listOf(close)))
        assertEquals(listOf("7", "8"), Taker(ALL).also { it.enter(listOf(close)) }.let { Taker().enter() })
    }

    @Test
    fun `the present state that a collector was told first does not count`() {
        val one = Taker(ALL)
        begin(listOf(close) + messages(1..3))
        assertEquals(listOf("1", "2", "3"), one.enter(present = listOf(close)))
        one.take(1)
        assertEquals(listOf("1", "2", "3"), Taker().enter())
        one.take(1)
        assertEquals(listOf("2", "3"), Taker().enter())
    }

    @Test
    fun `a turn that was taken back goes on in the next one`() {
        val (one, two) = List(2) { Taker() }
        one.enter()
        begin(messages(1..5), one)
        one.take(3)
        progress.told = 1
        two.enter()
        // Listeners were told one of five.
        val fresh = messages(6..7)
        begin(fresh, one, two)
        assertEquals(listOf("2", "3", "4", "5", "6", "7"), progress.events.names())
        assertEquals(listOf("4", "5", "6", "7"), Taker().enter())
        two.take(3)
        assertEquals(listOf("7"), Taker().enter())
        progress.leave(two.inbox)
        places -= two.inbox
        progress.told = 2
        begin(listOf(close, message(8)), one)
        assertEquals(listOf("4", "5", "6", "7", "close", "8"), progress.events.names())
        assertEquals(listOf("8"), Taker().enter())
    }
}
