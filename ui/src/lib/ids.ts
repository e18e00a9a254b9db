/** Trace IDs in the forms that people paste. */

/** 32 lower-case hex digits, or null. Shorter IDs are padded on the left, as the API does. */
export function parseTraceId(text: string): string | null {
  const digits = text.trim().replace(/^0x/i, "").replace(/-/g, "").toLowerCase();
  if (!/^[0-9a-f]{1,32}$/.test(digits) || /^0+$/.test(digits)) return null;
  return digits.padStart(32, "0");
}

export function shortId(id: string): string {
  return id.replace(/^0{16}(?=.)/, "").slice(0, 8);
}
