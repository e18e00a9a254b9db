/** The requests of the trace between workloads of a mesh: who called whom, what became of it, and where the time went. */
import { apiUrl } from "../api/client";
import type { MeshHop, MeshHopsAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Failure, Loading } from "../components/States";
import { formatDuration } from "../lib/duration";
import { plural } from "../lib/numbers";
import styles from "./Hops.module.css";
import { depthOf, hopName, partsOf, spanOf } from "./hops";

interface Props {
  traceId: string;
  /** Whether the page has the row of a span. */
  isShown: (spanId: string) => boolean;
  onSpan: (spanId: string) => void;
}

const INDENT_PX = 18;
const MOST_INDENTS = 8;

export function Hops({ traceId, isShown, onSpan }: Props) {
  const { data, error, reload } = useApi<MeshHopsAnswer>(apiUrl(["traces", traceId, "hops"]));
  if (error) return <Failure error={error} retry={reload} />;
  if (!data) return <Loading label="Loading the hops" />;
  return (
    <section className={styles.hops} aria-label="Hops of the mesh">
      <p className="muted">
        {plural(data.hops.length, "request")} between workloads, from {plural(data.proxySpanCount, "span")} of
        proxies.
        {data.partial && ` Not everything was read: ${data.partialReason ?? "parts could not be read"}.`}
      </p>
      <ol>
        {data.hops.map((hop, at) => (
          <Hop
            key={`${hop.spanIds.join(" ")}`}
            hop={hop}
            depth={depthOf(data.hops, at)}
            span={spanOf(hop, isShown)}
            onSpan={onSpan}
          />
        ))}
      </ol>
    </section>
  );
}

interface HopProps {
  hop: MeshHop;
  depth: number;
  span: string | undefined;
  onSpan: (spanId: string) => void;
}

function Hop({ hop, depth, span, onSpan }: HopProps) {
  const { outcome } = hop;
  const failed = outcome.class === "error";
  const parts = partsOf(hop);
  return (
    <li style={{ marginInlineStart: INDENT_PX * Math.min(depth, MOST_INDENTS) }}>
      <div className={styles.head}>
        {span === undefined ? (
          <strong>{hopName(hop)}</strong>
        ) : (
          <button type="button" className="link-button" onClick={() => onSpan(span)}>
            {hopName(hop)}
          </button>
        )}
        <span className="tnum">{formatDuration(hop.durationNano)}</span>
        <span className={failed ? "error-count" : "muted"}>
          {failed && <span aria-hidden="true">▲ </span>}
          {outcome.class}
          {outcome.code === null ? "" : ` ${outcome.code}`}
        </span>
      </div>
      <p>{hop.story}</p>
      <div className={styles.bar} aria-hidden="true">
        {parts.map(({ part, share }) => (
          <span key={part} data-part={part} style={{ flexGrow: share }} />
        ))}
      </div>
      <ul className={styles.parts} aria-label="Where the time went">
        {parts.map(({ part, text }) => (
          <li key={part} data-part={part}>
            {text}
          </li>
        ))}
      </ul>
    </li>
  );
}
