/** The results of one search, page after page. */
import { useEffect, useRef, useState } from "react";
import { type ApiError, getJson } from "../api/client";
import type { SearchAnswer, TraceSummary } from "../api/types";
import { toApiError, useApi } from "../api/useApi";
import { type SearchParams, searchUrl } from "./params";

/** The pages after the first. */
interface More {
  /** The first page before them. If another one is loaded, they are dropped. */
  after: SearchAnswer;
  traces: TraceSummary[];
  nextCursor: string | null;
  partial: boolean;
  loading: boolean;
  error?: ApiError;
}

export function useTraces(search: SearchParams) {
  const url = searchUrl(search);
  const first = useApi<SearchAnswer>(url, { keep: true });
  const { data: firstPage, loading } = first;
  const [stored, setMore] = useState<More | null>(null);
  const more = stored && stored.after === firstPage ? stored : null;
  const abort = useRef<AbortController>(null);
  useEffect(() => () => abort.current?.abort(), []);

  const cursor = more ? more.nextCursor : (firstPage?.nextCursor ?? null);
  const loadMore = () => {
    // While another search loads, the cursor belongs to the previous one.
    if (!cursor || !firstPage || loading) return;
    abort.current?.abort();
    const current = new AbortController();
    abort.current = current;
    const before = more ?? {
      after: firstPage,
      traces: [],
      nextCursor: cursor,
      partial: false,
      loading: false,
    };
    setMore({ ...before, loading: true, error: undefined });
    getJson<SearchAnswer>(searchUrl(search, cursor), { signal: current.signal }).then(
      (page) =>
        setMore({
          after: firstPage,
          traces: [...before.traces, ...page.traces],
          nextCursor: page.nextCursor,
          partial: before.partial || page.partial,
          loading: false,
        }),
      (cause: unknown) => {
        if (!current.signal.aborted) setMore({ ...before, loading: false, error: toApiError(cause) });
      },
    );
  };

  return {
    traces: firstPage ? [...firstPage.traces, ...(more?.traces ?? [])] : undefined,
    partial: Boolean(firstPage?.partial || more?.partial),
    hasMore: cursor !== null,
    loading,
    error: first.error,
    reload: first.reload,
    loadMore,
    loadingMore: more?.loading ?? false,
    moreError: more?.error,
  };
}
