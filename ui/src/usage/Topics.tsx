/** What reads topics of Kafka, and what keeps it from reading. */
import { useId } from "react";
import { apiUrl } from "../api/client";
import type { StatusAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { formatCount } from "../lib/numbers";

export function Topics() {
  const id = useId();
  const { data } = useApi<StatusAnswer>(apiUrl(["status"]), { maxAge: 0, keep: true });
  // Servers of before, and callers who see their tenants alone, have none.
  const readers = data?.topicReaders ?? [];
  if (readers.length === 0) return null;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>Topics of Kafka</h2>
      <table className="list-table">
        <thead>
          <tr>
            <th scope="col">Topics</th>
            <th scope="col">Group</th>
            <th scope="col">Encoding</th>
            <th scope="col">State</th>
            <th scope="col" className="num">
              Partitions
            </th>
            <th scope="col" className="num">
              Not stored yet
            </th>
          </tr>
        </thead>
        <tbody>
          {readers.map(({ group, topics, encoding, state, reason, partitionCount, lag }) => (
            <tr key={`${group} ${topics.join(" ")}`}>
              <th scope="row">{topics.join(", ")}</th>
              <td>{group}</td>
              <td>{encoding}</td>
              <td>{reason === null ? state : `${state}: ${reason}`}</td>
              <td className="num">{formatCount(partitionCount)}</td>
              <td className="num">{formatCount(lag)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
