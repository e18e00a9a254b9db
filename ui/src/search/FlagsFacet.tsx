/**
 * The response flags that proxies of a mesh set on the spans that were found, each as a way to narrow the search. Loaded
 * when it is opened: counting takes longer than the first page of a search.
 */
import { useState } from "react";
import { Link } from "../address/Link";
import { apiUrl } from "../api/client";
import type { AttributeValuesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Failure, Loading } from "../components/States";
import { formatCompact } from "../lib/numbers";
import { narrowed, quote } from "../lib/traceql";
import styles from "./FlagsFacet.module.css";
import { type SearchParams, searchPath } from "./params";

export function FlagsFacet({ search }: { search: SearchParams }) {
  const [open, setOpen] = useState(false);
  return (
    <details className={styles.facet} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Response flags of a mesh</summary>
      {open && <Flags search={search} />}
    </details>
  );
}

function Flags({ search }: { search: SearchParams }) {
  const url = apiUrl(["attributes", "mesh.flags", "values"], { q: search.query, ...search.range });
  const { data, error, reload } = useApi<AttributeValuesAnswer>(url);
  if (error) return <Failure error={error} retry={reload} />;
  if (!data) return <Loading label="Counting flags" />;
  if (data.values.length === 0) return <p className="muted">No span that matches has a response flag.</p>;
  return (
    <ul className="pills" aria-label="Response flags">
      {data.values.map(({ value, spanCount }) => (
        <li key={String(value)}>
          <Link
            to={searchPath({
              ...search,
              query: narrowed(search.query, `mesh.flags = ${quote(String(value))}`),
            })}
          >
            {String(value)} <span className="muted tnum">{formatCompact(spanCount)}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
