/**
 * Answers of a real server, kept by what was asked, and given again as if they had just been recorded.
 *
 * Times move with the clock: a trace that was a minute old when it was recorded is a minute old again.
 */

export interface Reply {
  status: number;
  body: unknown;
}

export interface Recording {
  recordedUnixNano: string;
  /** By `keyOf`. */
  replies: Record<string, Reply>;
}

const MINUTE_NANO = 60_000_000_000n;
/** Later times are no times of day but clocks that are wrong, and stay. */
const LAST_TIME = 9_000_000_000_000_000_000n;

/** What was asked, without its moments: a page asks for another one each time it is opened. */
export function keyOf(url: URL): string {
  const parameters = [...url.searchParams].map(([name, value]) => [
    name,
    /^\d{18,}$/.test(value) ? "TIME" : value,
  ]);
  parameters.sort();
  return `${url.pathname}?${new URLSearchParams(parameters)}`;
}

export function replay(recording: Recording, url: URL, nowNano: bigint): Reply {
  const reply = recording.replies[keyOf(url)];
  if (!reply) {
    const detail = `Nothing is recorded of ${url.pathname}${url.search}. Record it (README), or ask a real server.`;
    return { status: 404, body: { type: "about:blank", title: "Not Recorded", status: 404, detail } };
  }
  // In whole minutes, so that points of charts stay on their grid.
  const shift = ((nowNano - BigInt(recording.recordedUnixNano)) / MINUTE_NANO) * MINUTE_NANO;
  return { status: reply.status, body: shiftTimes(reply.body, shift) };
}

function shiftTimes(value: unknown, shift: bigint): unknown {
  if (Array.isArray(value)) return value.map((item) => shiftTimes(item, shift));
  if (value === null || typeof value !== "object") return value;
  const shifted = Object.entries(value).map(([key, inner]) => {
    const isTime = key.endsWith("UnixNano") && typeof inner === "string" && BigInt(inner) < LAST_TIME;
    return [key, isTime ? String(BigInt(inner) + shift) : shiftTimes(inner, shift)];
  });
  return Object.fromEntries(shifted);
}
