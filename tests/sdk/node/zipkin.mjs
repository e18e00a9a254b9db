// Sends spans by Zipkin's own client: node zipkin.mjs HOST:PORT. Prints what it sent.

import zipkin from "zipkin";
import { HttpLogger } from "zipkin-transport-http";

const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Tracer, jsonEncoder } = zipkin;

const [address] = process.argv.slice(2);
const logger = new HttpLogger({ endpoint: `http://${address}/api/v2/spans`, jsonEncoder: jsonEncoder.JSON_V2, httpInterval: 50 });
const sent = [];

// Each service has a recorder of its own, as it has in a process of its own.
function tracer(name) {
  const logSpan = (span) => {
    sent.push(JSON.parse(jsonEncoder.JSON_V2.encode(span)));
    logger.logSpan(span);
  };
  const recorder = new BatchRecorder({ logger: { logSpan } });
  return new Tracer({ ctxImpl: new ExplicitContext(), recorder, localServiceName: name, traceId128Bit: true });
}

// A client calls a server, which takes over its ID, as Zipkin's instrumentations do.
const [shop, cart] = [tracer("shop"), tracer("cart")];
const parent = shop.createRootId();
shop.letId(parent, () => {
  shop.recordServiceName("shop");
  shop.recordRpc("get /checkout");
  shop.recordAnnotation(new Annotation.ServerRecv());
});
const call = shop.letId(parent, () => shop.createChildId());
shop.letId(call, () => {
  shop.recordServiceName("shop");
  shop.recordRpc("get");
  shop.recordBinary("http.path", "/cart/ä");
  shop.recordAnnotation(new Annotation.ClientSend());
  shop.recordAnnotation(new Annotation.ServerAddr({ serviceName: "cart", host: new InetAddress("10.0.0.7"), port: 8080 }));
});
cart.join(call);
cart.letId(call, () => {
  cart.recordServiceName("cart");
  cart.recordRpc("get");
  cart.recordAnnotation(new Annotation.ServerRecv());
  cart.recordMessage("looked up");
  cart.recordBinary("error", "out of stock");
  cart.recordAnnotation(new Annotation.ServerSend());
});
shop.letId(call, () => shop.recordAnnotation(new Annotation.ClientRecv()));
shop.letId(parent, () => shop.recordAnnotation(new Annotation.ServerSend()));

// The logger sends by a timer and has no end; its promise is not given out.
const deadline = Date.now() + 30_000;
const wait = () => {
  if (logger.queue.length === 0 && sent.length >= 3) {
    setTimeout(() => {
      process.stdout.write(JSON.stringify(sent));
      process.exit(0);
    }, 300);
  } else if (Date.now() > deadline) {
    throw new Error(`${logger.queue.length} spans are not sent`);
  } else {
    setTimeout(wait, 20);
  }
};
wait();
