package app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.wxsocket.CloseEvent;
import dev.wxsocket.ConnectDecision;
import dev.wxsocket.EventListener;
import dev.wxsocket.Message;
import dev.wxsocket.MessageEvent;
import dev.wxsocket.Options;
import dev.wxsocket.SendOutcome;
import dev.wxsocket.SocketLog;
import dev.wxsocket.SocketSetup;
import dev.wxsocket.SocketState;
import dev.wxsocket.SocketTask;
import dev.wxsocket.WxException;
import dev.wxsocket.WxSocket;
import dev.wxsocket.ffi.AttemptLimit;
import dev.wxsocket.ffi.ConnectOptions;
import dev.wxsocket.ffi.Header;
import dev.wxsocket.ffi.HeartbeatOptions;
import dev.wxsocket.ffi.HeartbeatPayload;
import dev.wxsocket.ffi.LogLevel;
import dev.wxsocket.ffi.NetworkKind;
import dev.wxsocket.ffi.NetworkStatus;
import dev.wxsocket.ffi.OverflowPolicy;
import dev.wxsocket.ffi.Preset;
import dev.wxsocket.ffi.QueueOptions;
import dev.wxsocket.ffi.ReadyState;
import dev.wxsocket.ffi.ReconnectOptions;
import dev.wxsocket.ffi.ReplyMatch;
import dev.wxsocket.ffi.TlsOptions;
import dev.wxsocket.testing.ffi.ScriptedServer;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** An app in Java: it uses nothing of Kotlin but the classes of the library. */
class JavaAppTest {
    private ScriptedServer server;

    @BeforeEach
    void start() throws Exception {
        server = new ScriptedServer("[]");
    }

    @AfterEach
    void stop() {
        server.shutdown();
        server.destroy();
    }

    private static <T> T next(BlockingQueue<T> queue) throws InterruptedException {
        return assertNotNull(queue.poll(15, TimeUnit.SECONDS), "nothing in time");
    }

    private static <T> T assertNotNull(T value, String what) {
        org.junit.jupiter.api.Assertions.assertNotNull(value, what);
        return value;
    }

    @Test
    void connectsSendsAndListens() throws Exception {
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        SocketTask task = WxSocket.connect(server.url(), setup -> {
            setup.onOpen(event -> heard.add("open " + event.getEpoch()));
            setup.onMessage(event -> heard.add("message " + event.getText()));
            setup.onError(event -> heard.add("error " + event.getErrMsg()));
            setup.onClose(event -> heard.add("close " + event.getCode() + " " + event.getReason() + " " + event.getRetry()));
        });
        assertEquals("open 1", next(heard));
        assertEquals(ReadyState.OPEN, task.getReadyState());
        assertEquals(SocketState.Open.INSTANCE, task.getState().getValue());
        assertInstanceOf(SendOutcome.Sent.class, task.send("text"));
        assertEquals("message text", next(heard));
        task.send(new Message.Text("message"));
        assertEquals("message message", next(heard));
        task.send(new byte[] {1});
        assertEquals("message null", next(heard));
        task.send(ByteBuffer.wrap(new byte[] {1, 2}));
        assertEquals("message null", next(heard));
        assertEquals(4, task.getStats().getMessagesOut());
        assertNull(task.getStats().getLastRtt());
        task.close(4000, "bye");
        assertEquals("close 4000 bye null", next(heard));
    }

    @Test
    void listenersComeAndGo() throws Exception {
        try (SocketTask task = WxSocket.connect(server.url())) {
            BlockingQueue<String> heard = new LinkedBlockingQueue<>();
            EventListener<MessageEvent> listener = event -> heard.add("removed " + event.getText());
            task.onMessage(listener);
            task.onMessage(event -> heard.add(event.getText()));
            task.offMessage(listener);
            task.offOpen();
            task.offError();
            task.offClose();
            task.send("x");
            assertEquals("x", next(heard));
            BlockingQueue<CloseEvent> closes = new LinkedBlockingQueue<>();
            task.onClose(closes::add);
            task.close(1000);
            assertEquals(1000, next(closes).getCode());
            assertTrue(heard.isEmpty());
        }
    }

    @Test
    void everyOptionCanBeSet() throws Exception {
        var executor = Executors.newSingleThreadExecutor();
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        SocketTask task = WxSocket.connect(WxSocket.options(server.url()), setup -> {
            setup.setPreset(Preset.RESILIENT);
            setup.header("X-One", "1");
            setup.setHeader(List.of(new Header("X-Two", "2")));
            setup.protocols("chat");
            setup.setProtocols(List.of());
            setup.setTimeout(WxSocket.millis(15_000));
            setup.setTcpNoDelay(true);
            setup.setMaxMessageBytes(1_000_000L);
            setup.setMaxBufferedBytes(1_000_000L);
            setup.setCloseTimeout(WxSocket.millis(1_000));
            setup.setGreeting(new Message.Text("hello"));
            setup.keepInBackground();
            setup.setBackground(WxSocket.interruptAfter(5_000));
            setup.setExecutor(executor);
            setup.reconnect(reconnect -> {
                reconnect.setEnabled(true);
                reconnect.setDelay(WxSocket.fixedDelay(10));
                reconnect.setDelay(WxSocket.fullJitter(1, 1, 2, 3, 4));
                reconnect.setMaxAttempts(new AttemptLimit.Attempts(3));
                Options.maxAttempts(reconnect, 3);
                Options.unlimited(reconnect);
                reconnect.setStableAfter(WxSocket.millis(5_000));
                reconnect.setStopCodes(List.of(4001));
                reconnect.setStopStatuses(List.of(404));
                reconnect.setHonourRetryAfter(true);
            });
            setup.heartbeat(heartbeat -> {
                heartbeat.setInterval(WxSocket.millis(20_000));
                heartbeat.setTimeout(WxSocket.millis(5_000));
                heartbeat.setPayload(new HeartbeatPayload.Text("ping"));
                heartbeat.setReply(new ReplyMatch.Text("pong"));
                Options.text(heartbeat, "ping");
                Options.replyField(heartbeat, "type");
                Options.reply(heartbeat, "pong");
                heartbeat.setStrict(false);
            });
            setup.queue(queue -> {
                queue.setEnabled(true);
                queue.setMessages(10L);
                queue.setBytes(1_000L);
                queue.setMaxAge(WxSocket.millis(60_000));
                queue.setOverflow(OverflowPolicy.DROP_OLDEST);
            });
            setup.tls(tls -> tls.setCaPem(null));
            setup.beforeConnect((epoch, attempt, lastError) -> {
                heard.add("dial " + epoch + " " + attempt + " " + lastError);
                return ConnectDecision.Proceed.INSTANCE;
            });
            setup.onOpen(event -> heard.add("open"));
            setup.onMessage(event -> heard.add(event.getText()));

            ConnectOptions options = setup.getOptions();
            assertEquals(15_000, WxSocket.toMillis(options.getTimeout()));
            assertEquals(WxSocket.millis(5_000), options.getHeartbeat().getTimeout());
            assertEquals(WxSocket.millis(60_000), options.getQueue().getMaxAge());
            assertEquals(WxSocket.millis(5_000), options.getReconnect().getStableAfter());
        });
        assertEquals("dial 1 0 null", next(heard));
        assertEquals("open", next(heard));
        assertEquals("hello", next(heard));
        task.setNetwork(true);
        task.setNetwork(new NetworkStatus(true, "wifi", NetworkKind.WIFI));
        task.setForeground(true);
        task.pause();
        task.resume();
        task.reconnectNow();
        BlockingQueue<CloseEvent> closes = new LinkedBlockingQueue<>();
        task.onClose(event -> {
            if (event.getRetry() == null) closes.add(event);
        });
        task.close();
        assertEquals(1000, next(closes).getCode());
        executor.shutdown();
    }

    /** A name with a hash, which the Kotlin compiler gives to what takes a `Duration`, cannot be written in Java. */
    @Test
    void everySetterHasAName() {
        var classes = List.of(SocketSetup.class, ConnectOptions.class, ReconnectOptions.class, HeartbeatOptions.class,
                QueueOptions.class, TlsOptions.class);
        for (var options : classes) {
            assertTrue(Arrays.stream(options.getMethods()).anyMatch(method -> method.getName().startsWith("set")));
            Stream<String> names = Arrays.stream(options.getMethods()).map(method -> method.getName());
            assertEquals(List.of(), names.filter(name -> name.matches("[gs]et.*-.*")).toList(), options.getName());
        }
    }

    @Test
    void refusalsNameTheField() {
        var refused = assertThrows(WxException.InvalidArgument.class,
                () -> WxSocket.connect(server.url(), setup -> setup.queue(queue -> queue.setMaxAge(WxSocket.millis(0)))));
        assertEquals("queue.maxAge", refused.getField());
    }

    @Test
    void aHookThatThrowsFailsTheAttempt() throws Exception {
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        SocketTask task = WxSocket.connect(server.url(), setup -> {
            setup.beforeConnect((epoch, attempt, lastError) -> {
                if (attempt == 0) throw new java.io.IOException("no token");
                return attempt == 1 ? new ConnectDecision.Change(server.url() + "/two") : new ConnectDecision.Stop();
            });
            setup.reconnect(reconnect -> reconnect.setDelay(WxSocket.fixedDelay(1)));
            setup.onError(event -> heard.add(event.getDetail()));
            setup.onOpen(event -> heard.add("open"));
        });
        assertTrue(next(heard).contains("no token"));
        assertEquals("open", next(heard));
        task.close();
    }

    @Test
    void messagesAreValues() {
        assertEquals(new Message.Text("a"), new Message.Text("a"));
        assertEquals(new Message.Text("a").hashCode(), new Message.Text("a").hashCode());
        assertNotEquals(new Message.Text("a"), new Message.Text("b"));
        assertFalse(new Message.Text("a").equals(new Message.Binary(new byte[] {97})));
        assertEquals("a", new Message.Text("a").toString());
        assertEquals(new Message.Binary(new byte[] {1}), new Message.Binary(new byte[] {1}));
    }

    @Test
    void theLogTakesALambda() {
        SocketLog.set(LogLevel.OFF, (level, line) -> {});
    }
}
