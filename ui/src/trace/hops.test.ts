import { describe, expect, test } from "vitest";
import type { MeshHop, MeshPart, Trace } from "../api/types";
import { depthOf, hasProxies, hopName, partsOf, spanOf } from "./hops";

function hop(inside: number | null, times: MeshPart[] = []): MeshHop {
  const party = (name: string) => ({ kind: "workload" as const, name, namespace: "shop" });
  return {
    caller: party("checkout"),
    callee: party("payment"),
    inside,
    startUnixNano: "1",
    durationNano: 10,
    outcome: { code: 200, class: "ok", flags: "-", meanings: [] },
    toldBy: "caller",
    attemptCount: 1,
    unseenAttemptCount: 0,
    attempts: [],
    times,
    story: "answered with 200",
    spanIds: ["a", "b"],
  };
}

describe("hops", () => {
  test("say who called whom, and how deep inside of others", () => {
    const hops = [hop(null), hop(0), hop(1), hop(0)];
    expect(hopName(hop(null))).toBe("checkout.shop → payment.shop");
    expect(hops.map((_, at) => depthOf(hops, at))).toEqual([0, 1, 2, 1]);
  });

  test("divide their time into shares", () => {
    const parts = partsOf(
      hop(null, [
        { part: "callerProxyAndNetwork", durationNano: 1_000_000 },
        { part: "app", durationNano: 3_000_000 },
      ]),
    );
    expect(parts.map(({ text }) => text)).toEqual(["caller's proxy and network 1 ms", "application 3 ms"]);
    expect(parts.map(({ share }) => share)).toEqual([0.25, 0.75]);
    expect(partsOf(hop(null, [{ part: "app", durationNano: 0 }])).map(({ share }) => share)).toEqual([0]);
  });

  test("lead to a span that is on the page", () => {
    expect(spanOf(hop(null), (id) => id === "b")).toBe("b");
    expect(spanOf(hop(null), () => false)).toBeUndefined();
  });

  test("are offered where a proxy sent a span", () => {
    const trace = (component: string) =>
      ({
        segments: [{ spans: [{ attributes: [{ key: "component", value: { stringValue: component } }] }] }],
      }) as unknown as Trace;
    expect([hasProxies(trace("proxy")), hasProxies(trace("grpc"))]).toEqual([true, false]);
  });
});
