/** One colour for each service on every page, so that users recognise it from list to trace. */
import { useMemo } from "react";
import { apiUrl } from "../api/client";
import type { ServicesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { assignColours } from "../lib/colour";

const MAX_AGE_MS = 60_000;

/** Colours of all services known to the server. Those of `shown` are assigned first, so that they differ. */
export function useServiceColours(shown?: readonly string[]): Map<string, number> {
  const { data } = useApi<ServicesAnswer>(apiUrl(["services"]), { maxAge: MAX_AGE_MS, keep: true });
  return useMemo(() => {
    const known = assignColours(data?.services.map((service) => service.name) ?? []);
    return shown ? assignColours(shown, known) : known;
  }, [data, shown]);
}
