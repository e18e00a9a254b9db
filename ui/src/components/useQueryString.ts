import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";

/** The URL's query string as state: what a page shows can be shared by its address. */
export function useQueryString() {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const params = useMemo(() => new URLSearchParams(search), [search]);
  const set = useCallback(
    (changes: Record<string, string | undefined>, options: { replace?: boolean } = {}) => {
      const next = new URLSearchParams(search);
      for (const [key, value] of Object.entries(changes)) {
        if (value === undefined || value === "") next.delete(key);
        else next.set(key, value);
      }
      const text = next.toString();
      if (text === search) return;
      navigate(text ? `${location}?${text}` : location, options);
    },
    [search, location, navigate],
  );
  return { params, set };
}
