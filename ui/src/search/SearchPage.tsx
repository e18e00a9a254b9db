/** The search page: the form on the left, the results on the right, the whole state in the URL. */
import { useEffect, useMemo } from "react";
import { useQuery } from "../address/address";
import { apiUrl } from "../api/client";
import type { StatusAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Failure, Loading, Warning } from "../components/States";
import { useTitle } from "../components/useTitle";
import { plural } from "../lib/numbers";
import { describeRange } from "../lib/time";
import { FlagsFacet } from "./FlagsFacet";
import { Landing } from "./Landing";
import { ORDER_LABELS, readSearch, type SearchParams, writeSearch } from "./params";
import { Results } from "./Results";
import { Scatter } from "./Scatter";
import { SearchForm } from "./SearchForm";
import styles from "./SearchPage.module.css";
import { useTraces } from "./useTraces";

const EMPTY_STORE_POLL_MS = 3000;

export function SearchPage() {
  useTitle("Search");
  const { params, set } = useQuery();
  const search = useMemo(() => readSearch(params), [params]);
  const found = useTraces(search);
  const status = useApi<StatusAnswer>(apiUrl(["status"]), { maxAge: 0, keep: true });

  const storeEmpty = status.data?.spanCount === 0 && found.traces?.length === 0;
  const { reload: reloadStatus } = status;
  const { reload: reloadTraces } = found;
  useEffect(() => {
    if (!storeEmpty) return;
    const timer = setInterval(() => {
      reloadStatus();
      reloadTraces();
    }, EMPTY_STORE_POLL_MS);
    return () => clearInterval(timer);
  }, [storeEmpty, reloadStatus, reloadTraces]);

  const submit = (next: SearchParams) => {
    const changes = writeSearch(next);
    const same = Object.entries(changes).every(([key, value]) => (params.get(key) ?? undefined) === value);
    if (same) found.reload();
    else set(changes);
  };

  return (
    <div className={styles.searchPage}>
      <SearchForm search={search} onSubmit={submit} />
      <section className={styles.results} aria-label="Results" aria-busy={found.loading}>
        {found.error ? (
          <Failure error={found.error} retry={found.reload} />
        ) : !found.traces ? (
          <Loading label="Searching" />
        ) : storeEmpty ? (
          <Landing status={status.data} />
        ) : (
          <Found search={search} found={found} onSubmit={submit} />
        )}
      </section>
    </div>
  );
}

interface FoundProps {
  search: SearchParams;
  found: ReturnType<typeof useTraces>;
  onSubmit: (search: SearchParams) => void;
}

function Found({ search, found, onSubmit }: FoundProps) {
  const traces = found.traces ?? [];
  if (traces.length === 0) return <NothingFound search={search} partial={found.partial} />;
  return (
    <>
      <div className={styles.resultsHead}>
        <h1 aria-live="polite">
          {plural(traces.length, "trace")}
          {found.hasMore && " so far"}
        </h1>
        <span className="muted">
          {ORDER_LABELS[search.order].toLowerCase()}, {describeRange(search.range).toLowerCase()}
        </span>
        {found.loading && <span className="spinner" role="status" aria-label="Searching" />}
      </div>
      {found.partial && <PartialNotice />}
      <FlagsFacet search={search} />
      <Scatter traces={traces} search={search} onRange={(range) => onSubmit({ ...search, range })} />
      <Results traces={traces} search={search} />
      <div className={styles.resultsFoot}>
        {found.moreError && <Failure error={found.moreError} />}
        {found.hasMore ? (
          <button type="button" onClick={found.loadMore} disabled={found.loadingMore || found.loading}>
            {found.loadingMore ? "Loading…" : `Load ${search.limit} more`}
          </button>
        ) : (
          <span className="muted">That is all in this range.</span>
        )}
      </div>
    </>
  );
}

function PartialNotice() {
  return (
    <Warning>
      <strong>Partial answer.</strong> The search stopped at a limit of the server, so matching traces may be
      missing or out of order. Narrow the time range or add a condition.
    </Warning>
  );
}

function NothingFound({ search, partial }: { search: SearchParams; partial: boolean }) {
  return (
    <div className="state state-block" role="status">
      <h1>No trace matches</h1>
      {partial && <PartialNotice />}
      <p>
        Looked for <code>{search.query}</code> in {describeRange(search.range).toLowerCase()}.
      </p>
      <ul>
        <li>Widen the time range: it counts the start of the matching spans.</li>
        <li>
          Values are typed: <code>500</code> is a number, <code>"500"</code> a string.
        </li>
        <li>All conditions must hold on the same span.</li>
      </ul>
    </div>
  );
}
