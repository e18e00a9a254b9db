/** Attributes as a table: keys, values, and their actions. */
import { useState } from "react";
import { Link } from "../address/Link";
import type { AnyValue, KeyValue } from "../api/types";
import { CopyButton } from "../components/CopyButton";
import { plainValue, valueText, valueType } from "../lib/attributes";
import styles from "./AttributeTable.module.css";

const LONG_TEXT = 1500;

interface Props {
  attributes: readonly KeyValue[];
  /** The path of a search for traces with an attribute; without it there is no such link. */
  findPath?: (entry: KeyValue) => string | null;
}

export function AttributeTable({ attributes, findPath }: Props) {
  if (attributes.length === 0) return null;
  return (
    <table className={styles.attributes}>
      <tbody>
        {attributes.map((entry, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: keys may repeat, and rows never move.
          <tr key={at}>
            <th scope="row">{entry.key}</th>
            <td>
              <Value value={entry.value} />
              <span className={styles.attributeActions}>
                <FindLink entry={entry} to={findPath?.(entry) ?? null} />
                <CopyButton text={valueText(entry.value)} label={`Copy ${entry.key}`} />
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Value({ value }: { value: AnyValue | undefined }) {
  const [whole, setWhole] = useState(false);
  const type = valueType(value);
  const nested = type === "array" || type === "map";
  const text = nested ? JSON.stringify(plainValue(value), null, 1) : valueText(value);
  if (type === "empty") return <span className="muted">empty</span>;
  if (text === "") return <span className="muted">""</span>;
  const cut = !whole && text.length > LONG_TEXT;
  return (
    <>
      <span className={`${styles.value} ${styles[`value-${type}`] ?? ""}`} title={type}>
        {cut ? `${text.slice(0, LONG_TEXT)}…` : text}
      </span>
      {cut && (
        <button type="button" className="link-button" onClick={() => setWhole(true)}>
          Show all {text.length} characters
        </button>
      )}
    </>
  );
}

/** A link to a search for traces with the same attribute. */
function FindLink({ entry, to }: { entry: KeyValue; to: string | null }) {
  if (to === null) return null;
  const label = `Find traces with this ${entry.key}`;
  return (
    <Link className="tiny-button" to={to} aria-label={label} title={label}>
      <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true" fill="none" stroke="currentColor">
        <circle cx="7" cy="7" r="4.2" strokeWidth="1.4" />
        <path d="m10.2 10.2 3.6 3.6" strokeWidth="1.6" />
      </svg>
    </Link>
  );
}
