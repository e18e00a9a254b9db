import brave.Span;
import brave.Tracing;
import brave.sampler.Sampler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.skywalking.apm.agent.core.context.ContextCarrier;
import org.apache.skywalking.apm.agent.core.context.ContextManager;
import org.apache.skywalking.apm.agent.core.context.trace.SpanLayer;
import org.apache.skywalking.apm.network.trace.component.ComponentsDefine;
import zipkin2.reporter.Encoding;
import zipkin2.reporter.brave.AsyncZipkinSpanHandler;
import zipkin2.reporter.urlconnection.URLConnectionSender;

/**
 * Sends spans as Java programs do, and prints what it knows of them as JSON.
 *
 * <pre>
 * java -cp 'LIB/*' Sender brave json|proto3 URL      by Zipkin's client
 * java -javaagent:... -cp 'LIB/*' Sender call        by OpenTelemetry's agent, which sees a call to a server of this process
 * java -javaagent:... -cp 'LIB/*' Sender skywalking  by SkyWalking's agent, until standard input ends
 * </pre>
 */
public final class Sender {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "brave" -> brave(Encoding.valueOf(arguments[1].toUpperCase()), arguments[2]);
            case "call" -> call();
            case "skywalking" -> SkyWalking.run();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void brave(Encoding encoding, String url) throws Exception {
        var printed = new LinkedHashMap<String, Object>();
        long start = System.currentTimeMillis() * 1000;
        try (var sender = URLConnectionSender.newBuilder().endpoint(url).encoding(encoding).build();
             var handler = AsyncZipkinSpanHandler.create(sender);
             var tracing = Tracing.newBuilder().localServiceName("shop").localIp("192.0.2.1").localPort(8080)
                 .traceId128Bit(true).sampler(Sampler.ALWAYS_SAMPLE).addSpanHandler(handler).build()) {
            var tracer = tracing.tracer();
            var root = tracer.newTrace().name("get /orders").kind(Span.Kind.SERVER).start(start);
            root.remoteServiceName("gateway");
            root.remoteIpAndPort("192.0.2.9", 4711);
            root.tag("http.path", "/orders").tag("name", "ä").annotate(start + 100, "checked");
            var call = tracer.newChild(root.context()).name("charge").kind(Span.Kind.CLIENT).start(start + 200);
            call.remoteServiceName("payments");
            call.error(new IllegalStateException("no stock"));
            call.finish(start + 700);
            var local = tracer.newChild(root.context()).name("render").start(start + 800);
            local.finish(start + 900);
            root.finish(start + 1000);
            handler.flush();
            printed.put("trace", root.context().traceIdString());
            printed.put("root", root.context().spanIdString());
            printed.put("call", call.context().spanIdString());
            printed.put("local", local.context().spanIdString());
            printed.put("start", start);
        }
        print(printed);
    }

    /** A call to a server of this process: an agent sees both sides of it. */
    private static void call() throws Exception {
        var printed = new LinkedHashMap<String, Object>();
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/orders", exchange -> {
            exchange.getRequestHeaders().forEach((name, values) -> printed.put(name.toLowerCase(), values.get(0)));
            Logger.getLogger("shop").log(Level.SEVERE, "the order failed", new IllegalStateException("no stock"));
            byte[] body = "{}".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        int port = server.getAddress().getPort();
        printed.put("port", port);
        printed.put("start", System.currentTimeMillis());
        Logger.getLogger("shop").warning("an order is late");
        checkout(port, printed);
        printed.put("end", System.currentTimeMillis());
        server.stop(0);
        print(printed);
    }

    private static void checkout(int port, Map<String, Object> printed) throws IOException {
        var url = URI.create("http://127.0.0.1:" + port + "/orders?id=7").toURL();
        var connection = (HttpURLConnection) url.openConnection();
        printed.put("status", connection.getResponseCode());
        connection.getInputStream().readAllBytes();
    }

    /** SkyWalking's agent without plugins: spans are made by its core, as plugins make them. */
    private static final class SkyWalking {
        static void run() throws Exception {
            awaitConnection();
            var printed = new LinkedHashMap<String, Object>();
            printed.put("start", System.currentTimeMillis());
            var entry = ContextManager.createEntrySpan("/orders", new ContextCarrier());
            entry.setLayer(SpanLayer.HTTP).setComponent(ComponentsDefine.TOMCAT);
            entry.tag("name", "ä");
            printed.put("trace", ContextManager.getGlobalTraceId());
            printed.put("segment", ContextManager.getSegmentId());
            var snapshot = ContextManager.capture();
            var carrier = new ContextCarrier();
            var exit = ContextManager.createExitSpan("charge", carrier, "payments:8080");
            exit.setLayer(SpanLayer.RPC_FRAMEWORK).setComponent(ComponentsDefine.GRPC);
            exit.log(new IllegalStateException("no stock")).errorOccurred();
            ContextManager.stopSpan();
            // A thread of its own has a segment of its own.
            var other = new Thread(() -> {
                ContextManager.createLocalSpan("render");
                ContextManager.continued(snapshot);
                printed.put("other", ContextManager.getSegmentId());
                ContextManager.stopSpan();
            });
            other.start();
            other.join();
            ContextManager.stopSpan();
            printed.put("end", System.currentTimeMillis());
            print(printed);
            // The agent sends in the background. Its caller ends this process once it has seen the spans.
            System.in.read();
        }

        /** Until it is connected, the agent ignores what it sees. */
        private static void awaitConnection() throws InterruptedException {
            for (boolean ignored = true; ignored; Thread.sleep(50)) {
                ContextManager.createLocalSpan("probe");
                ignored = ContextManager.getGlobalTraceId().equals("Ignored_Trace");
                ContextManager.stopSpan();
            }
        }
    }

    private static void print(Map<String, Object> printed) {
        var out = new StringBuilder("{");
        printed.forEach((key, value) -> {
            String text = String.valueOf(value).replace("\\", "\\\\").replace("\"", "\\\"");
            out.append(out.length() > 1 ? ", " : "").append('"').append(key).append("\": ");
            out.append(value instanceof Number ? text : '"' + text + '"');
        });
        System.out.println(out.append('}'));
    }
}
