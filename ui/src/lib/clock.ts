/**
 * What time the server has. Relative ranges are resolved by the server's clock, so a chart whose axis ends
 * at "now" must use that clock, too, however wrong the browser's is.
 */

/** Differences that the whole seconds of a `Date` header explain are none. */
const LEAST_OFFSET_MS = 2000;

let offsetMs = 0;

/** Milliseconds since 1970 by the server's clock, as far as its answers have told. */
export function nowMs(): number {
  return Date.now() + offsetMs;
}

/** Takes in the `Date` header of an answer that has just arrived. */
export function noteServerTime(date: string | null) {
  const told = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(told)) return;
  const offset = told - Date.now();
  offsetMs = Math.abs(offset) < LEAST_OFFSET_MS ? 0 : offset;
}
