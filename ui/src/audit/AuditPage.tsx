/** The audit log: who asked, changed and was refused what. */
import { useId, useMemo, useState } from "react";
import { Empty, Failure, Loading } from "../components/States";
import { useTitle } from "../components/useTitle";
import { plural } from "../lib/numbers";
import styles from "./AuditPage.module.css";
import { AuditTable } from "./AuditTable";
import { matches } from "./lines";
import { useAudit } from "./useAudit";

export default function AuditPage() {
  useTitle("Audit log");
  const id = useId();
  const [text, setText] = useState("");
  const { lines, loading, error, hasOlder, loadNewest, loadOlder } = useAudit();
  const found = useMemo(() => lines?.filter((line) => matches(line, text)), [lines, text]);
  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title">Audit log</h1>
        <div className={styles.tools}>
          <label htmlFor={id}>Find</label>
          <input
            id={id}
            type="search"
            value={text}
            onChange={(event) => setText(event.target.value)}
            placeholder="who, event, path, status…"
            spellCheck={false}
            autoComplete="off"
          />
          <button type="button" onClick={loadNewest} disabled={loading}>
            {loading && lines ? "Loading…" : "Newest lines"}
          </button>
        </div>
      </div>
      {error && <Failure error={error} retry={loadNewest} />}
      {!lines || !found ? (
        !error && <Loading label="Loading lines" />
      ) : lines.length === 0 ? (
        <Empty title="Nothing is written down yet" />
      ) : (
        <>
          <p className="muted" role="status">
            {text.trim() === ""
              ? `${plural(lines.length, "line")}, the newest first`
              : `${found.length} of ${plural(lines.length, "loaded line")}`}
          </p>
          <AuditTable lines={found} />
          {hasOlder ? (
            <button type="button" onClick={loadOlder} disabled={loading}>
              {loading ? "Loading…" : "Older lines"}
            </button>
          ) : (
            <p className="muted">There are no older lines.</p>
          )}
        </>
      )}
    </div>
  );
}
