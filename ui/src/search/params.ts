/** The search page's state in the URL. */
import { withQuery } from "../address/text";
import { apiUrl } from "../api/client";
import { ORDERS, type Order } from "../api/types";
import { DEFAULT_RANGE, type TimeRange } from "../lib/time";

export interface SearchParams {
  query: string;
  range: TimeRange;
  order: Order;
  limit: number;
}

export const DEFAULT_LIMIT = 20;
export const LIMITS = [20, 50, 100, 200, 500, 1000];

export const ORDER_LABELS: Record<Order, string> = {
  newest: "Newest first",
  oldest: "Oldest first",
  longest: "Longest first",
  shortest: "Shortest first",
  mostSpans: "Most spans first",
  mostErrors: "Most errors first",
};

export function readSearch(params: URLSearchParams): SearchParams {
  const start = params.get("start") ?? DEFAULT_RANGE.start;
  const end = params.get("end") ?? undefined;
  const limit = Number(params.get("limit") ?? DEFAULT_LIMIT);
  return {
    query: params.get("q") ?? "{ }",
    range: end ? { start, end } : { start },
    order: ORDERS.find((order) => order === params.get("order")) ?? "newest",
    limit: Number.isInteger(limit) && limit >= 1 && limit <= 1000 ? limit : DEFAULT_LIMIT,
  };
}

/** The parameters that differ from the defaults, so that addresses are short. */
export function writeSearch(search: SearchParams): Record<string, string | undefined> {
  return {
    q: search.query === "{ }" ? undefined : search.query,
    start: search.range.start === DEFAULT_RANGE.start && !search.range.end ? undefined : search.range.start,
    end: search.range.end,
    order: search.order === "newest" ? undefined : search.order,
    limit: search.limit === DEFAULT_LIMIT ? undefined : String(search.limit),
  };
}

/** The path of the search page with this search. */
export function searchPath(search: Partial<SearchParams>): string {
  const full = {
    query: "{ }",
    range: DEFAULT_RANGE,
    order: "newest" as Order,
    limit: DEFAULT_LIMIT,
    ...search,
  };
  return withQuery("/", writeSearch(full));
}

export function searchUrl(search: SearchParams, cursor?: string): string {
  return apiUrl(["traces"], {
    q: search.query,
    start: search.range.start,
    end: search.range.end,
    order: search.order,
    limit: search.limit,
    cursor,
  });
}
