import { describe, expect, it } from "vitest";
import type { MeshEdge, MeshSide } from "../api/types";
import {
  edgeKey,
  errorRate,
  notes,
  partyName,
  policyRows,
  shareBars,
  sortedEdges,
  stepOf,
  stripsOf,
} from "./mesh";

function side(requestCount: number, errorCount = 0): MeshSide {
  return {
    requestCount,
    errorCount,
    clientErrorCount: 0,
    injectedCount: 0,
    abandonedCount: 0,
    p50Nano: 1,
    p95Nano: 2,
    p99Nano: 3,
    codes: [],
    flags: [],
  };
}

function edge(callee: string, requests: number, errors = 0): MeshEdge {
  return {
    caller: { kind: "workload", name: "checkout", namespace: "shop" },
    callee: { kind: "workload", name: callee, namespace: "shop" },
    client: side(requests, errors),
    server: side(requests, errors),
    attempts: {
      count: requests,
      mostOfOneRequest: 1,
      retriedRequestCount: 0,
      failedOverRequestCount: 0,
      unseenCount: 0,
      requestsWithoutCaller: 0,
      knownZonesCount: 0,
      crossZoneCount: 0,
    },
    subsets: [],
    instances: [],
    versions: [],
    zones: [],
    balance: {
      verdict: "oneInstance",
      policy: null,
      text: "there are no two instances to balance",
      policies: [],
    },
    retries: {
      extraAttemptCount: 0,
      extraNano: 0,
      rescuedRequestCount: 0,
      failedRequestCount: 0,
      storms: [],
    },
  };
}

describe("the mesh", () => {
  it("names what is known, and says what is not", () => {
    expect(partyName({ kind: "workload", name: "payment", namespace: "shop" })).toBe("payment.shop");
    expect(partyName({ kind: "workload", name: "api.example.com", namespace: "" })).toBe("api.example.com");
    expect(partyName({ kind: "address", name: "10.0.0.1", namespace: "" })).toBe("proxy at 10.0.0.1");
    expect(partyName({ kind: "noRoute", name: "", namespace: "" })).toBe("no route");
  });

  it("shows failing edges first, then busy ones", () => {
    const edges = [edge("cart", 50), edge("payment", 5, 2), edge("search", 90)];
    expect(sortedEdges(edges).map(({ callee }) => callee.name)).toEqual(["payment", "search", "cart"]);
    expect(new Set(edges.map(edgeKey)).size).toBe(3);
    expect(errorRate(side(0))).toBe(0);
  });

  it("tells what retries cost, and holds shares against policies", () => {
    const told = edge("payment", 16);
    told.retries = {
      ...told.retries,
      extraAttemptCount: 15,
      extraNano: 3_000_000,
      rescuedRequestCount: 14,
      failedRequestCount: 1,
    };
    expect(notes(told)).toEqual([
      "Retries cost 15 attempts and 3 ms of waiting; they rescued 14 of the requests, and 1 failed all the same.",
    ]);
    told.balance.policies = [
      {
        policy: "leastRequest",
        fit: "tooFew",
        neededCount: 40,
        expected: [
          { instance: "a", expectedFirstAttemptCount: 13.6 },
          { instance: "b", expectedFirstAttemptCount: 2.4 },
        ],
      },
    ];
    expect(policyRows(told)).toEqual([
      { name: "Least request", fit: "too few to tell, 40 needed", expected: ["14", "2"] },
    ]);
  });

  it("tells retries, lost attempts and flags in words", () => {
    const told = edge("payment", 16);
    told.attempts = {
      ...told.attempts,
      retriedRequestCount: 2,
      mostOfOneRequest: 3,
      failedOverRequestCount: 1,
    };
    told.attempts.unseenCount = 1;
    told.client.clientErrorCount = 3;
    told.client.flags = [
      { flags: "-", requestCount: 12, meanings: [] },
      {
        flags: "DI,FI",
        requestCount: 4,
        meanings: [{ flag: "FI", meaning: "the request was aborted", causedBy: "injected" }],
      },
    ];
    expect(notes(told)).toEqual([
      "2 requests took several attempts, 3 at most; those of 1 went to several instances.",
      "1 attempt reached no proxy that reports: an instance may be dead.",
      "3 requests got a status of 400 to 499.",
      "FI (in DI,FI), 4×: the request was aborted (injected).",
    ]);
    expect(notes(edge("cart", 1))).toEqual([]);
  });

  it("fills half of a bar with an equal share", () => {
    const uneven = edge("payment", 20);
    uneven.instances = [
      {
        instance: "a",
        zone: "z",
        revision: null,
        firstAttemptCount: 15,
        retryCount: 0,
        unorderedCount: 0,
        seen: side(15),
      },
      {
        instance: "b",
        zone: null,
        revision: "v2",
        firstAttemptCount: 5,
        retryCount: 0,
        unorderedCount: 0,
        seen: side(5),
      },
    ];
    expect(shareBars(uneven)).toEqual([
      { name: "a · z", value: 15, share: 0.75 },
      { name: "b · v2", value: 5, share: 0.25 },
    ]);
  });
});

describe("the time line", () => {
  it("has a strip for each instance, with gaps where it got nothing", () => {
    const point = (second: number, counts: Record<string, number>) => ({
      startUnixNano: String(second * 1_000_000_000),
      instances: Object.entries(counts).map(([instance, attemptCount]) => ({
        instance,
        zone: null,
        attemptCount,
      })),
    });
    const points = [point(10, { b: 2, a: 1 }), point(11, { a: 4 }), point(13, { b: 2 })];
    expect(stripsOf({ stepNano: 1_000_000_000, points, shifts: [] })).toEqual({
      steps: 4,
      strips: [
        {
          instance: "a",
          total: 5,
          cells: [
            { at: 0, share: 0.25 },
            { at: 1, share: 1 },
          ],
        },
        {
          instance: "b",
          total: 4,
          cells: [
            { at: 0, share: 0.5 },
            { at: 3, share: 0.5 },
          ],
        },
      ],
    });
  });

  it("has at most 120 steps of whole seconds", () => {
    expect(stepOf({ startMs: 0, endMs: 3_600_000 })).toBe("30");
    expect(stepOf({ startMs: 0, endMs: 1_000 })).toBe("1");
  });
});
