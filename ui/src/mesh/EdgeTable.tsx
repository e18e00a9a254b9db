/** Calls between workloads, each with what both sides saw; a row opens to instances and what happened. */
import { useId, useState } from "react";
import type { MeshEdge, MeshSide } from "../api/types";
import { formatDuration } from "../lib/duration";
import { formatCount, formatPercent, plural } from "../lib/numbers";
import { Bars } from "../usage/Bars";
import styles from "./EdgeTable.module.css";
import { edgeKey, errorRate, notes, partyName, policyRows, shareBars, sortedEdges } from "./mesh";
import { Timeline } from "./Timeline";

const COLUMNS = ["Requests", "Errors", "p95", "Attempts", "Errors", "p95", "Balance"] as const;

export function EdgeTable({ edges }: { edges: readonly MeshEdge[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Calls between workloads">
      <table className={`list-table ${styles.edges}`}>
        <caption className="visually-hidden">Edges of the mesh</caption>
        <thead>
          <tr>
            <th scope="col" rowSpan={2}>
              Call
            </th>
            <th scope="colgroup" colSpan={3} className="num">
              As the caller saw it
            </th>
            <th scope="colgroup" colSpan={3} className="num">
              As the callee saw it
            </th>
            <th scope="col" rowSpan={2}>
              {COLUMNS[6]}
            </th>
          </tr>
          <tr>
            {COLUMNS.slice(0, 6).map((title, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the columns never change.
              <th key={at} scope="col" className="num">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sortedEdges(edges).map((edge) => (
            <Edge key={edgeKey(edge)} edge={edge} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Edge({ edge }: { edge: MeshEdge }) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const happened = notes(edge);
  return (
    <>
      <tr>
        <th scope="row">
          <button
            type="button"
            className={`link-button ${styles.edge}`}
            aria-expanded={open}
            aria-controls={open ? id : undefined}
            onClick={() => setOpen(!open)}
          >
            <span aria-hidden="true">{open ? "▾" : "▸"}</span>
            {partyName(edge.caller)} → {partyName(edge.callee)}
            <span className="visually-hidden">, {plural(happened.length, "note")}</span>
          </button>
        </th>
        <Side side={edge.client} />
        <Side side={edge.server} />
        <td>{edge.balance.text}</td>
      </tr>
      {open && (
        <tr id={id} className={styles.details}>
          <td colSpan={COLUMNS.length + 1}>
            <Details edge={edge} happened={happened} />
          </td>
        </tr>
      )}
    </>
  );
}

function Side({ side }: { side: MeshSide }) {
  if (side.requestCount === 0) {
    return (
      <td colSpan={3} className="num muted">
        nothing reported
      </td>
    );
  }
  return (
    <>
      <td className="num tnum">{formatCount(side.requestCount)}</td>
      <td className="num tnum">
        {side.errorCount > 0 ? (
          <span className="error-count">
            <span aria-hidden="true">▲ </span>
            {formatPercent(errorRate(side))}
          </span>
        ) : (
          <span className="muted">0%</span>
        )}
      </td>
      <td className="num tnum">{formatDuration(side.p95Nano)}</td>
    </>
  );
}

/** First attempts of each instance beside what policies would have given it. */
function Policies({ edge }: { edge: MeshEdge }) {
  const rows = policyRows(edge);
  if (rows.length === 0) return null;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Expected first attempts">
      <table className="list-table">
        <caption className="visually-hidden">First attempts beside what policies would give</caption>
        <thead>
          <tr>
            <th scope="col">Policy</th>
            {edge.instances.map(({ instance }) => (
              <th key={instance} scope="col" className="num">
                {instance}
              </th>
            ))}
            <th scope="col">Fit</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">Seen</th>
            {edge.instances.map(({ instance, firstAttemptCount }) => (
              <td key={instance} className="num tnum">
                {formatCount(firstAttemptCount)}
              </td>
            ))}
            <td />
          </tr>
          {rows.map(({ name, fit, expected }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {edge.instances.map(({ instance }, at) => (
                <td key={instance} className="num tnum">
                  {expected[at]}
                </td>
              ))}
              <td>{fit}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Details({ edge, happened }: { edge: MeshEdge; happened: string[] }) {
  return (
    <>
      {happened.length > 0 && (
        <ul className={styles.notes}>
          {happened.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {edge.instances.length > 0 ? (
        <>
          First attempts by instance; half of a bar is an equal share
          <Bars bars={shareBars(edge)} format={formatCount} />
          <Policies edge={edge} />
          <Timeline edge={edge} />
        </>
      ) : (
        "No instance of the callee reported anything."
      )}
    </>
  );
}
