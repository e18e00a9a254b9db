/** Attributes as a table: keys, values, and what one can do with them. */
import { useState } from "react";
import { Link } from "../address/Link";
import type { AnyValue, KeyValue } from "../api/types";
import { CopyButton } from "../components/CopyButton";
import { plainValue, valueText, valueType } from "../lib/attributes";
import { queryFor, quote } from "../lib/traceql";
import { searchPath } from "../search/params";

const LONG_TEXT = 1500;

interface Props {
  attributes: readonly KeyValue[];
  /** Where a search for an attribute would look; without it no search is offered. */
  scope?: "span" | "resource";
}

export function AttributeTable({ attributes, scope }: Props) {
  if (attributes.length === 0) return null;
  return (
    <table className="attributes">
      <tbody>
        {attributes.map((entry, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: keys may repeat, and rows never move.
          <tr key={at}>
            <th scope="row">{entry.key}</th>
            <td>
              <Value value={entry.value} />
              <span className="attribute-actions">
                {scope && <FindLink entry={entry} scope={scope} />}
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
      <span className={`value value-${type}`} title={type}>
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

/** A search for traces with the same value, where the search form can say it. */
function FindLink({ entry, scope }: { entry: KeyValue; scope: "span" | "resource" }) {
  const type = valueType(entry.value);
  if (!["string", "int", "bool"].includes(type)) return null;
  const text = valueText(entry.value);
  if (text.length > 200) return null;
  const value = type === "string" ? quote(text) : text;
  const key = /[\s="]/.test(entry.key) ? quote(`${scope}.${entry.key}`) : `${scope}.${entry.key}`;
  const label = `Find traces with this ${entry.key}`;
  return (
    <Link
      className="tiny-button"
      to={searchPath({ query: queryFor({ attributes: `${key}=${value}` }) })}
      aria-label={label}
      title={label}
    >
      <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true" fill="none" stroke="currentColor">
        <circle cx="7" cy="7" r="4.2" strokeWidth="1.4" />
        <path d="m10.2 10.2 3.6 3.6" strokeWidth="1.6" />
      </svg>
    </Link>
  );
}
