/**
 * The browser's address as state, and functions that change it. Path and query stay encoded as in the browser;
 * `routes.ts` and `URLSearchParams` decode them once.
 */
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { TENANT_PARAM, withTenants } from "./text";

/** The path prefix of the app, without a trailing slash; it comes from the document's `<base>`. */
export const BASE = basePath();

export interface Changes {
  /** Replaces the history entry instead of adding one. */
  replace?: boolean;
}

const listeners = new Set<() => void>();

/** Opens a path of the app, as `routes.ts` builds it, about the tenants of the current address. */
export function navigate(path: string, changes?: Changes) {
  go(withTenants(path, chosenTenants()), changes);
}

/** The address that a link to a path of the app has: it is about the tenants of the current address. */
export function linkTo(path: string): string {
  return BASE + withTenants(path, chosenTenants());
}

/** The tenants that the address names, with `|` between several; empty if it names none. */
export function chosenTenants(): string {
  if (typeof window === "undefined") return "";
  return new URLSearchParams(currentSearch()).get(TENANT_PARAM) ?? "";
}

/** The same as state. */
export function useChosenTenants(): string {
  return useSyncExternalStore(subscribe, chosenTenants);
}

/** Shows the same page about other tenants; with an empty text about those that the caller has by itself. */
export function chooseTenants(tenants: string) {
  const params = new URLSearchParams(currentSearch());
  if (tenants === "") params.delete(TENANT_PARAM);
  else params.set(TENANT_PARAM, tenants);
  go(withSearch(params));
}

function go(path: string, { replace = false }: Changes = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", BASE + path);
  for (const listener of listeners) listener();
}

/** The current path below the base, still encoded. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, currentPath);
}

/** The query's parameters, decoded, and a function that changes some of them. */
export function useQuery() {
  const search = useSyncExternalStore(subscribe, currentSearch);
  const params = useMemo(() => new URLSearchParams(search), [search]);
  const set = useCallback((changes: Record<string, string | undefined>, options?: Changes) => {
    const before = new URLSearchParams(currentSearch());
    const after = new URLSearchParams(before);
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined || value === "") after.delete(key);
      else after.set(key, value);
    }
    if (after.toString() === before.toString()) return;
    go(withSearch(after), options);
  }, []);
  return { params, set };
}

/** The current path with other parameters. */
function withSearch(params: URLSearchParams): string {
  const text = params.toString();
  return text ? `${currentPath()}?${text}` : currentPath();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

function currentPath(): string {
  const { pathname } = window.location;
  return pathname.startsWith(`${BASE}/`) ? pathname.slice(BASE.length) : "/";
}

function currentSearch(): string {
  return window.location.search;
}

function basePath(): string {
  return typeof document === "undefined" ? "" : new URL(document.baseURI).pathname.replace(/\/$/, "");
}
