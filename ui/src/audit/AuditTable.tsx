/** Lines of the audit log as rows; each opens to all that the line holds. */
import { Fragment, useId, useState } from "react";
import type { AuditLine } from "../api/types";
import { formatMs } from "../lib/time";
import styles from "./AuditTable.module.css";
import { show } from "./lines";

/** Members that are columns, and their names. The time comes first, and opens the line. */
const COLUMNS: readonly [string, string][] = [
  ["who", "Who"],
  ["event", "Event"],
  ["target", "Target"],
  ["status", "Status"],
  ["reason", "Reason"],
  ["tenant", "Tenants"],
  ["traces", "Traces"],
];

export function AuditTable({ lines }: { lines: AuditLine[] }) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const toggle = (seq: number) => {
    const next = new Set(open);
    if (!next.delete(seq)) next.add(seq);
    setOpen(next);
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Lines">
      <table className={`list-table ${styles.lines}`}>
        <caption className="visually-hidden">Lines of the audit log</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {COLUMNS.map(([member, title]) => (
              <th key={member} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <Line key={line.seq} line={line} open={open.has(line.seq)} onToggle={() => toggle(line.seq)} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Line({ line, open, onToggle }: { line: AuditLine; open: boolean; onToggle: () => void }) {
  const id = useId();
  return (
    <>
      <tr className={isRefused(line) ? styles.refused : undefined}>
        <th scope="row">
          <button
            type="button"
            className={`link-button tnum ${styles.time}`}
            aria-expanded={open}
            aria-controls={open ? id : undefined}
            onClick={onToggle}
          >
            <span aria-hidden="true">{open ? "▾" : "▸"}</span>
            {formatMs(Date.parse(line.time), true)}
          </button>
        </th>
        {COLUMNS.map(([member]) => (
          <td key={member} className={member === "target" ? styles.target : undefined}>
            {member === "event" ? eventOf(line) : show(line[member])}
          </td>
        ))}
      </tr>
      {open && (
        <tr id={id} className={styles.whole}>
          <td colSpan={COLUMNS.length + 1}>
            <dl className={styles.members}>
              {Object.entries(line).map(([member, value]) => (
                <Fragment key={member}>
                  <dt>{member}</dt>
                  <dd>
                    <code>{show(value)}</code>
                  </dd>
                </Fragment>
              ))}
            </dl>
          </td>
        </tr>
      )}
    </>
  );
}

/** A change leaves two lines, of its begin and its end. */
function eventOf(line: AuditLine): string {
  return line.phase === undefined ? line.event : `${line.event}, ${show(line.phase)}`;
}

function isRefused(line: AuditLine): boolean {
  return line.event === "refusal" || (typeof line.status === "number" && line.status >= 400);
}
