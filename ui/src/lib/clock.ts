/**
 * The server's time. The server resolves relative ranges by its own clock, so a chart whose axis ends at "now" must use
 * that clock, however wrong the browser's is.
 */

/** Smaller differences come from the whole seconds of a `Date` header. */
const LEAST_OFFSET_MS = 2000;

let offsetMs = 0;

/** Milliseconds since 1970 by the server's clock, as far as its responses have shown. */
export function nowMs(): number {
  return Date.now() + offsetMs;
}

/** Updates the offset from the `Date` header of a response that has just arrived. */
export function noteServerTime(date: string | null) {
  const told = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(told)) return;
  const offset = told - Date.now();
  offsetMs = Math.abs(offset) < LEAST_OFFSET_MS ? 0 : offset;
}
