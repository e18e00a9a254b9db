/** The page while nothing is stored: where to send spans, and how to get some. */
import type { StatusAnswer } from "../api/types";
import { endpointUrl } from "../lib/endpoints";
import styles from "./Landing.module.css";

export function Landing({ status }: { status?: Pick<StatusAnswer, "listen" | "encrypted"> }) {
  const url = (name: string) => {
    const address = status?.listen[name];
    const scheme = status?.encrypted.includes(name) ? "https" : "http";
    return address && endpointUrl(address, window.location.hostname, scheme);
  };
  const grpc = url("otlpGrpc");
  const http = url("otlpHttp");
  const demo = grpc ? `spandrel demo --endpoint ${grpc}` : "spandrel demo";
  return (
    <div className={styles.landing}>
      <h1>Nothing is stored yet</h1>
      <p>
        Point an OpenTelemetry SDK, Collector or mesh proxy here. This page shows the first traces as soon as
        they arrive.
      </p>
      {(grpc || http) && (
        <dl className={styles.endpoints}>
          {grpc && <Endpoint name="OTLP over gRPC" url={grpc} />}
          {http && <Endpoint name="OTLP over HTTP" url={`${http}/v1/traces`} />}
        </dl>
      )}
      {!grpc && !http && (
        <p>
          The server prints its addresses when it starts: <code>listening otlp-grpc …</code> and{" "}
          <code>listening otlp-http …</code>
        </p>
      )}
      {http && (
        <>
          <h2>Any OpenTelemetry SDK</h2>
          <pre>
            <code>{`export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_EXPORTER_OTLP_ENDPOINT=${http}\nexport OTEL_SERVICE_NAME=my-service`}</code>
          </pre>
        </>
      )}
      <h2>Nothing to instrument at hand?</h2>
      <p>A live e-commerce workload with errors, retries and slow requests:</p>
      <pre>
        <code>{demo}</code>
      </pre>
      <p className={styles.waiting} role="status">
        <span className="spinner" aria-hidden="true" /> Waiting for the first span…
      </p>
    </div>
  );
}

function Endpoint({ name, url }: { name: string; url: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <code>{url}</code>
      </dd>
    </>
  );
}
