/**
 * Maps paths to pages and pages to paths. Only text, no DOM.
 *
 * Names are encoded once when a path is built and decoded once when it is read, only in this module. Paths are relative
 * to the app's base and stay encoded, as in the browser.
 */
import { decodeSegment, encodeSegment, isDotSegment, withQuery } from "./text";

export type Page =
  | { name: "search" }
  | { name: "trace"; id: string }
  | { name: "services" }
  | { name: "service"; service: string }
  | { name: "mesh" }
  | { name: "keys" }
  | { name: "usage" }
  | { name: "audit" }
  | { name: "unknown" };

/** The paths that have a page. The server returns the app for them (`ui/embed/lib.rs`). */
export const ROUTES = [
  "/",
  "/trace/:id",
  "/services",
  "/services/:service",
  "/mesh",
  "/keys",
  "/usage",
  "/audit",
] as const;

/** The pages about the server, each at a path of its name. */
const SERVER_PAGES = ["keys", "usage", "audit"] as const;
export type ServerPage = (typeof SERVER_PAGES)[number];

export function readPage(path: string, query: URLSearchParams): Page {
  const segments = path.split("/").slice(1);
  if (segments.at(-1) === "") segments.pop();
  const [first, second] = segments;
  if (segments.length === 0) return { name: "search" };
  if (segments.length === 2 && first === "trace") return { name: "trace", id: decodeSegment(second ?? "") };
  if (first === "services") {
    const named = query.get("service");
    if (segments.length === 1) return named ? { name: "service", service: named } : { name: "services" };
    if (segments.length === 2) return { name: "service", service: decodeSegment(second ?? "") };
  }
  if (segments.length === 1 && first === "mesh") return { name: "mesh" };
  const ofServer = SERVER_PAGES.find((page) => page === first);
  if (segments.length === 1 && ofServer) return { name: ofServer };
  return { name: "unknown" };
}

export function serverPath(page: ServerPage): string {
  return `/${page}`;
}

export function tracePath(id: string, query: { span?: string | undefined } = {}): string {
  return withQuery(`/trace/${encodeSegment(id)}`, query);
}

export function meshPath(query: Record<string, string | undefined> = {}): string {
  return withQuery("/mesh", query);
}

export function servicesPath(query: Record<string, string | undefined> = {}): string {
  return withQuery("/services", query);
}

export function servicePath(service: string, query: Record<string, string | undefined> = {}): string {
  // Browsers resolve "." and ".." in paths, encoded or not, so these two names cannot be path segments.
  if (isDotSegment(service)) return withQuery("/services", { service, ...query });
  return withQuery(`/services/${encodeSegment(service)}`, query);
}
