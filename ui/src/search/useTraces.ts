/** The results of one search, page after page. */
import { useCallback, useEffect, useRef, useState } from "react";
import { type ApiError, getJson } from "../api/client";
import type { SearchAnswer, TraceSummary } from "../api/types";
import { toApiError, useApi } from "../api/useApi";
import { type SearchParams, searchUrl } from "./params";

interface More {
  traces: TraceSummary[];
  nextCursor: string | null;
  partial: boolean;
  loading: boolean;
  error?: ApiError;
}

export function useTraces(search: SearchParams) {
  const url = searchUrl(search);
  const first = useApi<SearchAnswer>(url, { keep: true });
  const [more, setMore] = useState<More | null>(null);
  const abort = useRef<AbortController>(null);

  const { data: firstPage, loading } = first;
  // A new first page makes the pages after it meaningless.
  useEffect(() => {
    void firstPage;
    setMore(null);
    return () => abort.current?.abort();
  }, [firstPage]);

  const cursor = more ? more.nextCursor : (firstPage?.nextCursor ?? null);
  const loadMore = useCallback(() => {
    // While another search loads, the cursor still belongs to the one before.
    if (!cursor || loading) return;
    abort.current?.abort();
    const current = new AbortController();
    abort.current = current;
    const before: More = more ?? { traces: [], nextCursor: cursor, partial: false, loading: false };
    setMore({ ...before, loading: true, error: undefined });
    getJson<SearchAnswer>(searchUrl(search, cursor), current.signal).then(
      (page) =>
        setMore({
          traces: [...before.traces, ...page.traces],
          nextCursor: page.nextCursor,
          partial: before.partial || page.partial,
          loading: false,
        }),
      (cause: unknown) => {
        if (!current.signal.aborted) setMore({ ...before, loading: false, error: toApiError(cause) });
      },
    );
  }, [cursor, more, search, loading]);

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
