/** The requests of a trace between workloads of a mesh, as text and as parts of a bar. No view state. */
import type { MeshHop, MeshPart, Trace } from "../api/types";
import { attributeText } from "../lib/attributes";
import { formatDuration } from "../lib/duration";
import { partyName } from "../mesh/mesh";

/** Whether a proxy of a mesh sent a span of the trace. */
export function hasProxies(trace: Trace): boolean {
  return trace.segments.some(({ spans }) =>
    spans.some(({ attributes }) => attributeText(attributes, "component") === "proxy"),
  );
}

export function hopName({ caller, callee }: MeshHop): string {
  return `${partyName(caller)} → ${partyName(callee)}`;
}

/** How many hops a hop is inside of. */
export function depthOf(hops: readonly MeshHop[], at: number): number {
  let depth = 0;
  for (let hop = hops[at]; hop && hop.inside !== null; hop = hops[hop.inside]) depth++;
  return depth;
}

const PARTS: Record<MeshPart["part"], string> = {
  toProxy: "to the proxy",
  earlierAttempts: "earlier attempts",
  callerProxy: "caller's proxy",
  network: "network",
  callerProxyAndNetwork: "caller's proxy and network",
  calleeProxy: "callee's proxy",
  app: "application",
  calleeProxyAndApp: "callee's proxy and application",
};

/** A part of the time of a hop; its share is of all parts, from 0 to 1. */
export interface HopPart {
  part: MeshPart["part"];
  text: string;
  share: number;
}

export function partsOf({ times }: MeshHop): HopPart[] {
  const total = times.reduce((sum, { durationNano }) => sum + durationNano, 0);
  return times.map(({ part, durationNano }) => ({
    part,
    text: `${PARTS[part]} ${formatDuration(durationNano)}`,
    share: total === 0 ? 0 : durationNano / total,
  }));
}

/** The span to show for a hop: the first of its spans that is on the page, from the caller to the callee. */
export function spanOf({ spanIds }: MeshHop, isShown: (id: string) => boolean): string | undefined {
  return spanIds.find(isShown);
}
