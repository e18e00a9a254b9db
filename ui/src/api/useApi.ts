/**
 * A hook that loads a URL: it returns the state of loading, the error or the data. Recent responses are cached, so that
 * the browser's back button shows a page at once.
 */
import { useCallback, useEffect, useState } from "react";
import { chosenTenants } from "../address/address";
import { ApiError, getJson } from "./client";

export interface Answer<T> {
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
}

interface Remembered {
  at: number;
  data: unknown;
}

interface Options {
  /** The age in milliseconds up to which a cached response is used. */
  maxAge?: number;
  /** Keeps showing the last response while the next URL loads. */
  keep?: boolean;
  /** Whether it is about the server or the caller, so that the chosen tenants do not matter. */
  ofServer?: boolean;
}

const DEFAULT_MAX_AGE = 30_000;
const LONGEST_AGE = 60_000;
const REMEMBERED_ANSWERS = 12;
/** By tenants and URL: the same URL has another response for other tenants. */
const memory = new Map<string, Remembered>();

export function useApi<T>(url: string | null, options: Options = {}): Answer<T> {
  const { maxAge = DEFAULT_MAX_AGE, keep = false, ofServer = false } = options;
  const [round, setRound] = useState(0);
  const [state, setState] = useState<{ url: string | null; data?: T; error?: ApiError; done: boolean }>(
    () => ({
      url,
      data: recall<T>(url, maxAge),
      done: false,
    }),
  );

  useEffect(() => {
    if (url === null) return;
    const known = round === 0 ? recall<T>(url, maxAge) : undefined;
    if (known !== undefined) {
      setState({ url, data: known, done: true });
      return;
    }
    const abort = new AbortController();
    const key = memoryKey(url);
    getJson<T>(url, { signal: abort.signal, ofServer }).then(
      (data) => {
        if (abort.signal.aborted) return;
        remember(key, data);
        setState({ url, data, done: true });
      },
      (cause: unknown) => {
        if (abort.signal.aborted) return;
        setState({ url, error: toApiError(cause), done: true });
      },
    );
    return () => abort.abort();
  }, [url, round, maxAge, ofServer]);

  const reload = useCallback(() => {
    setState((old) => ({ ...old, done: false }));
    setRound((n) => n + 1);
  }, []);

  const current = state.url === url;
  return {
    data: current || keep ? state.data : recall<T>(url, maxAge),
    error: current ? state.error : undefined,
    loading: url !== null && !(current && state.done),
    reload,
  };
}

export function toApiError(cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause;
  return new ApiError(0, "Unreadable answer", cause instanceof Error ? cause.message : String(cause));
}

function memoryKey(url: string): string {
  return `${chosenTenants()} ${url}`;
}

function recall<T>(url: string | null, maxAge: number): T | undefined {
  const found = url === null ? undefined : memory.get(memoryKey(url));
  return found && Date.now() - found.at <= maxAge ? (found.data as T) : undefined;
}

function remember(key: string, data: unknown) {
  memory.delete(key);
  memory.set(key, { at: Date.now(), data });
  // The map keeps the order of insertion, so the oldest come first. Drops old entries and those above the limit.
  for (const [known, { at }] of memory) {
    if (memory.size <= REMEMBERED_ANSWERS && Date.now() - at <= LONGEST_AGE) break;
    memory.delete(known);
  }
}
