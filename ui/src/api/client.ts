/**
 * Sends requests to the native API, and turns every failure into one error type whose text tells users what to do. It
 * does not depend on pages.
 *
 * URLs are relative to the document's base, so that the app works under any path prefix.
 */
import { chosenTenants } from "../address/address";
import { encodeSegment, withQuery } from "../address/text";
import { noteServerTime } from "../lib/clock";
import { tenantsProblem } from "../lib/tenants";
import type { Problem } from "./types";

export type Params = Record<string, string | number | undefined>;

export class ApiError extends Error {
  readonly status: number;
  readonly title: string;

  constructor(status: number, title: string, detail: string) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.title = title;
  }
}

/** The address of the path `segments` below `/api/v1`. Empty parameters are left out. */
export function apiUrl(segments: readonly string[], params: Params = {}): string {
  return withQuery(["api", "v1", ...segments.map(encodeSegment)].join("/"), params);
}

export interface Request {
  method?: "GET" | "POST" | "DELETE";
  /** Sent as JSON. */
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** Whether it is about the server or the caller, so that the chosen tenants do not matter. */
  ofServer?: boolean;
}

export async function getJson<T>(url: string, request: Request = {}): Promise<T> {
  return (await (await send(url, request)).json()) as T;
}

/** Sends a request about the chosen tenants. A response that is no success becomes an `ApiError`. */
export async function send(url: string, request: Request = {}): Promise<Response> {
  const { method = "GET", body, signal, ofServer = false } = request;
  const headers = new Headers({ accept: "application/json" });
  if (!ofServer) nameTenants(headers);
  if (body !== undefined) headers.set("content-type", "application/json");
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      ...(signal && { signal }),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(
      0,
      "No answer",
      "The server did not answer. Check that it is running, then try again.",
    );
  }
  noteServerTime(response.headers.get("date"));
  // The session has ended: the page itself is answered with the form to sign in, which leads back here.
  if (response.status === 401) window.location.reload();
  if (!response.ok) throw await failure(response);
  return response;
}

function nameTenants(headers: Headers) {
  const tenants = chosenTenants();
  if (tenants === "") return;
  const problem = tenantsProblem(tenants);
  if (problem) throw new ApiError(400, "The address names no tenant", problem);
  headers.set("x-scope-orgid", tenants);
}

async function failure(response: Response): Promise<ApiError> {
  const title = response.statusText || `HTTP ${response.status}`;
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as Problem;
    return new ApiError(response.status, problem.title ?? title, problem.detail ?? problem.title ?? title);
  } catch {
    return new ApiError(
      response.status,
      title,
      text.slice(0, 300) || `The server answered ${response.status}.`,
    );
  }
}
