/** How long spans took from their end until they could be found, by receiver. */
import { useId } from "react";
import { apiUrl } from "../api/client";
import type { StatusAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { formatDuration } from "../lib/duration";
import { formatCount } from "../lib/numbers";

export function Delays() {
  const id = useId();
  const { data } = useApi<StatusAnswer>(apiUrl(["status"]), { maxAge: 0, keep: true });
  // Servers of before, and callers who see their tenants alone, have none.
  const delays = data?.ingestDelays ?? [];
  if (delays.length === 0) return null;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>From the end of a span until it is found</h2>
      <p className="muted">
        In the last minute or two. Most of it is usually the sender's own, which collects spans before it
        sends them.
      </p>
      <table className="list-table">
        <thead>
          <tr>
            <th scope="col">Receiver</th>
            <th scope="col" className="num">
              Spans
            </th>
            <th scope="col" className="num">
              Median
            </th>
            <th scope="col" className="num">
              99 %
            </th>
          </tr>
        </thead>
        <tbody>
          {delays.map(({ receiver, spanCount, p50Nano, p99Nano }) => (
            <tr key={receiver}>
              <th scope="row">{receiver}</th>
              <td className="num">{formatCount(spanCount)}</td>
              <td className="num">{formatDuration(p50Nano)}</td>
              <td className="num">{formatDuration(p99Nano)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
