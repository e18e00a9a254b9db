/** What a newcomer sees while nothing is stored: where to send spans, and how to get some. */
import styles from "./Landing.module.css";

export function Landing() {
  const host = window.location.hostname || "127.0.0.1";
  const http = `http://${host}:4318`;
  return (
    <div className={styles.landing}>
      <h1>Nothing is stored yet</h1>
      <p>
        Point an OpenTelemetry SDK, Collector or mesh proxy here. This page shows the first traces as soon as
        they arrive.
      </p>
      <dl className={styles.endpoints}>
        <dt>OTLP over gRPC</dt>
        <dd>
          <code>http://{host}:4317</code>
        </dd>
        <dt>OTLP over HTTP</dt>
        <dd>
          <code>{http}/v1/traces</code>
        </dd>
      </dl>
      <h2>Any OpenTelemetry SDK</h2>
      <pre>
        <code>{`export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_EXPORTER_OTLP_ENDPOINT=${http}\nexport OTEL_SERVICE_NAME=my-service`}</code>
      </pre>
      <h2>Nothing to instrument at hand?</h2>
      <p>A live e-commerce workload with errors, retries and slow requests:</p>
      <pre>
        <code>spandrel demo</code>
      </pre>
      <p className="muted">
        These are the default ports. The server prints the ones it took as <code>listening otlp-grpc …</code>{" "}
        and <code>listening otlp-http …</code>
      </p>
      <p className={styles.waiting} role="status">
        <span className="spinner" aria-hidden="true" /> Waiting for the first span…
      </p>
    </div>
  );
}
