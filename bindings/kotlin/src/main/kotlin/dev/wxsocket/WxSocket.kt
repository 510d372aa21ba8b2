package dev.wxsocket

import dev.wxsocket.ffi.BackgroundPolicy
import dev.wxsocket.ffi.ReconnectDelay
import java.util.function.Consumer
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/**
 * The entry for Java: the functions that Kotlin code writes with extensions, default arguments and `Duration`.
 *
 * ```java
 * SocketTask task = WxSocket.connect("wss://example.com", setup -> {
 *     setup.setPreset(Preset.RESILIENT);
 *     setup.setTimeout(WxSocket.millis(15_000));
 *     setup.heartbeat(h -> h.setInterval(WxSocket.millis(20_000)));
 *     setup.onMessage(event -> System.out.println(event.getText()));
 * });
 * task.send("hello");
 * ```
 *
 * Java does not see the type aliases of this package: import `Preset`, `ErrorKind`, `Header` and the other types of
 * options from `dev.wxsocket.ffi`.
 */
public object WxSocket {
    /** As [connectSocket]. */
    @JvmStatic
    @JvmOverloads
    public fun connect(url: String, setup: Consumer<SocketSetup>? = null): SocketTask =
        connect(ConnectOptions(url), setup)

    /** As [connectSocket]: [options] are copied. */
    @JvmStatic
    @JvmOverloads
    public fun connect(options: ConnectOptions, setup: Consumer<SocketSetup>? = null): SocketTask =
        connectSocket(options) { setup?.accept(this) }

    /**
     * Loads the native library and the classes of this library, so that the first [connectSocket] is fast. It blocks for
     * some tenths of a second; call it in the background when the app starts. It may be called on any thread and any
     * number of times; later calls return at once. It makes no task, no connection and no thread.
     *
     * @throws UnsatisfiedLinkError when there is no native library for this machine.
     */
    @JvmStatic
    public fun warmUp() {
        isWarm
    }

    private val isWarm: Boolean by lazy {
        // No task has this number, so nothing is sent.
        Engine.send(0, "")
        try {
            // What every task needs, without a task.
            Turn()
            Delivery(0, defaultExecutor(), SocketState.Connecting(0), SocketSetup(ConnectOptions("")).subscribers)
            // Takes the way of every `connectSocket` up to the check of the options.
            engine { dev.wxsocket.ffi.connectSocket(ConnectOptions(""), null, null) }
            false
        } catch (_: WxException.InvalidArgument) {
            true
        }
    }

    /** Makes options for this URL; everything else is left to the preset. */
    @JvmStatic
    public fun options(url: String): ConnectOptions = ConnectOptions(url)

    /** Makes a time of this many milliseconds, for an option. */
    @JvmStatic
    @JvmName("millis")
    public fun millis(millis: Long): Duration? = millis.milliseconds

    /** Returns a time in whole milliseconds: a round trip, or the delay of a [Retry]. */
    @JvmStatic
    @JvmName("toMillis")
    public fun toMillis(time: Duration?): Long = requireNotNull(time) { "there is no time" }.inWholeMilliseconds

    /** As the Kotlin function [fixedDelay], in milliseconds; for `ReconnectOptions.setDelay`. */
    @JvmStatic
    public fun fixedDelay(millis: Long): ReconnectDelay = ReconnectDelay.Fixed(millis.milliseconds)

    /** As the Kotlin function [fullJitter], in milliseconds; for `ReconnectOptions.setDelay`. */
    @JvmStatic
    public fun fullJitter(first: Long, min: Long, max: Long, slowAfter: Long, slow: Long): ReconnectDelay =
        ReconnectDelay.FullJitter(
            first.milliseconds, min.milliseconds, max.milliseconds, slowAfter.milliseconds, slow.milliseconds,
        )

    /** As [SocketSetup.interruptInBackground], in milliseconds; for `setBackground`. */
    @JvmStatic
    public fun interruptAfter(millis: Long): BackgroundPolicy = BackgroundPolicy.Interrupt(millis.milliseconds)
}
