/** The lines of the audit log that were loaded: the newest ones first, and older ones on demand. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { ApiError } from "../api/client";
import type { AuditLine } from "../api/types";
import { toApiError } from "../api/useApi";
import { linesBefore, newestLines } from "./lines";

export function useAudit() {
  const [lines, setLines] = useState<AuditLine[]>();
  /** The number below which nothing is loaded. */
  const [from, setFrom] = useState(1);
  const [loading, setLoading] = useState(true);
  const [error, setError] = useState<ApiError>();
  const abort = useRef<AbortController>(null);

  const load = useCallback((older: { below: number } | null) => {
    abort.current?.abort();
    const current = new AbortController();
    abort.current = current;
    setLoading(true);
    setError(undefined);
    const loaded = older ? linesBefore(older.below, current.signal) : newestLines(current.signal);
    loaded.then(
      (page) => {
        if (current.signal.aborted) return;
        setLines((known = []) => (older ? [...known, ...page.lines] : page.lines));
        // Nothing below means that it was removed for its age.
        setFrom(page.lines.length === 0 ? 1 : page.from);
        setLoading(false);
      },
      (cause: unknown) => {
        if (current.signal.aborted) return;
        setError(toApiError(cause));
        setLoading(false);
      },
    );
  }, []);

  useEffect(() => {
    load(null);
    return () => abort.current?.abort();
  }, [load]);

  return {
    lines,
    loading,
    error,
    hasOlder: lines !== undefined && from > 1,
    loadNewest: () => load(null),
    loadOlder: () => load({ below: from }),
  };
}
