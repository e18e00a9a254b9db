/** What an edge of the mesh says, as text and as bars. No view state. */
import type { MeshEdge, MeshParty, MeshSide, MeshTimeline } from "../api/types";
import { formatDuration } from "../lib/duration";
import { formatCount, formatPercent, plural } from "../lib/numbers";
import { formatTime } from "../lib/time";
import type { Bar } from "../usage/usage";

/** A workload with its namespace; what is not known is said to be so. */
export function partyName({ kind, name, namespace }: MeshParty): string {
  if (kind === "noRoute") return "no route";
  if (kind === "unknown") return "unknown";
  if (kind === "address") return `proxy at ${name}`;
  return namespace ? `${name}.${namespace}` : name;
}

export function edgeKey(edge: MeshEdge): string {
  return `${edge.caller.kind} ${partyName(edge.caller)} ${edge.callee.kind} ${partyName(edge.callee)}`;
}

/** Edges with errors first, then those with most requests. */
export function sortedEdges(edges: readonly MeshEdge[]): MeshEdge[] {
  const weight = (edge: MeshEdge) => Math.max(edge.client.requestCount, edge.server.requestCount);
  return [...edges].sort(
    (a, b) => failures(b) - failures(a) || weight(b) - weight(a) || edgeKey(a).localeCompare(edgeKey(b)),
  );
}

function failures({ client, server }: MeshEdge): number {
  return client.requestCount > 0 ? client.errorCount : server.errorCount;
}

/** The share of requests that failed; 0 without requests. */
export function errorRate(side: MeshSide): number {
  return side.requestCount === 0 ? 0 : side.errorCount / side.requestCount;
}

/** What happened on an edge, a sentence each. */
export function notes(edge: MeshEdge): string[] {
  const { attempts, client, server } = edge;
  const found: string[] = [];
  const note = (count: number, text: (count: number) => string) => {
    if (count > 0) found.push(text(count));
  };
  note(
    attempts.retriedRequestCount,
    (count) =>
      `${plural(count, "request")} took several attempts, ${attempts.mostOfOneRequest} at most; those of ${attempts.failedOverRequestCount} went to several instances.`,
  );
  note(
    attempts.unseenCount,
    (count) => `${plural(count, "attempt")} reached no proxy that reports: an instance may be dead.`,
  );
  note(
    attempts.requestsWithoutCaller,
    (count) => `${plural(count, "request")} came without a span of the caller's proxy.`,
  );
  const { retries } = edge;
  if (retries.extraAttemptCount > 0)
    found.push(
      `Retries cost ${plural(retries.extraAttemptCount, "attempt")} and ${formatDuration(retries.extraNano)} of waiting; they rescued ${retries.rescuedRequestCount} of the requests, and ${retries.failedRequestCount} failed all the same.`,
    );
  for (const storm of retries.storms)
    found.push(
      `Retry storm from ${formatTime(storm.startUnixNano)} to ${formatTime(storm.endUnixNano)}: ${storm.text}.`,
    );
  note(client.clientErrorCount, (count) => `${plural(count, "request")} got a status of 400 to 499.`);
  note(client.injectedCount, (count) => `${plural(count, "request")} met an injected fault.`);
  note(server.abandonedCount, (count) => `The caller left ${plural(count, "attempt")} before the response.`);
  note(
    attempts.crossZoneCount,
    (count) => `${formatPercent(count / attempts.knownZonesCount)} of the attempts went to another zone.`,
  );
  for (const { flags, requestCount, meanings } of [...client.flags, ...server.flags])
    for (const { flag, meaning, causedBy } of meanings)
      found.push(
        `${flag}${flags === flag ? "" : ` (in ${flags})`}, ${requestCount}×: ${meaning} (${cause(causedBy)}).`,
      );
  return [...new Set(found)];
}

const CAUSES = {
  caller: "by the caller",
  callee: "by the callee",
  mesh: "by the mesh",
  injected: "injected",
} as const;

function cause(by: keyof typeof CAUSES): string {
  return CAUSES[by];
}

/** What each policy would have given each instance, in the order of the instances. */
export function policyRows({ balance }: MeshEdge): { name: string; fit: string; expected: string[] }[] {
  return balance.policies.map(({ policy, fit, neededCount, expected }) => ({
    name: POLICIES[policy],
    fit: fit === "tooFew" ? `too few to tell, ${neededCount} needed` : FITS[fit],
    expected: expected.map(({ expectedFirstAttemptCount }) =>
      formatCount(Math.round(expectedFirstAttemptCount)),
    ),
  }));
}

const POLICIES = {
  roundRobin: "Round robin",
  weighted: "Weights",
  leastRequest: "Least request",
  leastResponseTime: "Least response time",
} as const;

const FITS = { agrees: "agrees", ruledOut: "ruled out" } as const;

/** First attempts of each instance; the whole bar is twice the equal share, so that a half is as it should be. */
export function shareBars(edge: MeshEdge): Bar[] {
  const total = edge.instances.reduce((sum, { firstAttemptCount }) => sum + firstAttemptCount, 0);
  const equal = total / Math.max(1, edge.instances.length);
  return edge.instances.map(({ instance, zone, revision, firstAttemptCount }) => ({
    name: [instance, revision, zone].filter(Boolean).join(" · "),
    value: firstAttemptCount,
    share: equal === 0 ? 0 : Math.min(1, firstAttemptCount / (2 * equal)),
  }));
}

/** Attempts of one instance: by step, beside the most that an instance got in a step. */
export interface Strip {
  instance: string;
  total: number;
  cells: { at: number; share: number }[];
}

/** A strip for each instance, and how many steps they are long. */
export function stripsOf({ points, stepNano }: MeshTimeline): { strips: Strip[]; steps: number } {
  const first = BigInt(points[0]?.startUnixNano ?? 0);
  const place = (startUnixNano: string) => Number((BigInt(startUnixNano) - first) / BigInt(stepNano));
  let most = 1;
  for (const { instances } of points)
    for (const { attemptCount } of instances) most = Math.max(most, attemptCount);
  const strips = new Map<string, Strip>();
  for (const { startUnixNano, instances } of points)
    for (const { instance, attemptCount } of instances) {
      const strip = strips.get(instance) ?? { instance, total: 0, cells: [] };
      strips.set(instance, strip);
      strip.total += attemptCount;
      strip.cells.push({ at: place(startUnixNano), share: attemptCount / most });
    }
  const last = points.at(-1);
  return {
    strips: [...strips.values()].sort((a, b) => a.instance.localeCompare(b.instance)),
    steps: last ? place(last.startUnixNano) + 1 : 1,
  };
}

const MOST_STEPS = 120;

/** Whole seconds, so that a range has at most so many steps. */
export function stepOf({ startMs, endMs }: { startMs: number; endMs: number }): string {
  return String(Math.max(1, Math.ceil((endMs - startMs) / 1000 / MOST_STEPS)));
}
