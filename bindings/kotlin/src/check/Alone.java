import dev.wxsocket.WxSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A program that has the library's jar and nothing else: the native library must come out of the jar. */
class Alone {
    public static void main(String[] arguments) throws Exception {
        var closed = new CompletableFuture<Integer>();
        var failed = new CompletableFuture<String>();
        WxSocket.warmUp();
        // Nobody listens at this port, so the connection fails at once, after all layers have been passed.
        try (var task = WxSocket.connect("ws://127.0.0.1:1", setup -> {
            setup.reconnect(reconnect -> reconnect.setEnabled(false));
            setup.onError(event -> failed.complete(event.getErrMsg()));
            setup.onClose(event -> closed.complete(event.getCode()));
        })) {
            String error = failed.get(30, TimeUnit.SECONDS);
            int code = closed.get(30, TimeUnit.SECONDS);
            if (code != 1006 || !error.startsWith("connectSocket:fail")) throw new AssertionError(code + " " + error);
        }
        System.out.println("the jar works alone");
    }
}
