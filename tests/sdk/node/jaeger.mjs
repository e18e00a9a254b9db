// Sends spans by Jaeger's own client: node jaeger.mjs http|udp HOST:PORT. Prints their IDs.

import jaeger from "jaeger-client";

const [transport, address] = process.argv.slice(2);
const [host, port] = address.split(":");
const reporter =
  transport === "http"
    ? { collectorEndpoint: `http://${address}/api/traces` }
    : { agentHost: host, agentPort: Number(port) };
const tracer = jaeger.initTracer(
  { serviceName: "shop", sampler: { type: "const", param: 1 }, reporter: { flushIntervalMs: 50, ...reporter } },
  { tags: { region: "eu-1", zone: 7 } },
);

const root = tracer.startSpan("checkout", { tags: { "span.kind": "server", ok: true, count: 3, ratio: 0.5 } });
const call = tracer.startSpan("charge", { childOf: root.context(), tags: { "span.kind": "client", error: true } });
call.log({ event: "retry", attempt: 2, why: "ä" });
call.finish();
root.finish();
// The client writes IDs without their leading zeros.
const digits = (id) => id.padStart(16, "0");
const id = (span) => ({ trace: digits(span.context().traceIdStr), span: digits(span.context().spanIdStr) });
tracer.close(() => process.stdout.write(JSON.stringify([id(root), id(call)])));
