import { describe, expect, it } from "vitest";
import type { SpanEvent, SpanLog } from "../api/types";
import { bodyOf, levelOf, severityOf, splitEvents } from "./logs";

function log(part: Partial<SpanLog>): SpanLog {
  return { severityNumber: 0, severityText: "", body: null, resource: 0, scope: 0, ...part };
}

describe("levelOf", () => {
  it("has four numbers for each level", () => {
    const levels = [0, 1, 4, 5, 9, 13, 16, 17, 20, 21, 24, 25].map(levelOf);
    expect(levels).toEqual([
      null,
      "trace",
      "trace",
      "debug",
      "info",
      "warn",
      "warn",
      "error",
      "error",
      "fatal",
      "fatal",
      null,
    ]);
  });
});

describe("severityOf and bodyOf", () => {
  it("prefer the sender's words", () => {
    expect(severityOf(log({ severityNumber: 13, severityText: "WARNING" }))).toBe("WARNING");
    expect(severityOf(log({ severityNumber: 13 }))).toBe("WARN");
    expect(severityOf(log({}))).toBe("");
  });
  it("show any body", () => {
    expect(bodyOf(log({ body: { stringValue: "it broke" } }))).toBe("it broke");
    expect(bodyOf(log({ body: { arrayValue: { values: [{ intValue: "1" }] } } }))).toBe("[1]");
    expect(bodyOf(log({}))).toBe("");
  });
});

describe("splitEvents", () => {
  it("tells lines of a log from what happened", () => {
    const event: SpanEvent = { name: "retry" };
    const unnamed: SpanEvent = { timeUnixNano: "1" };
    const named: SpanEvent = { name: "exception", log: log({ severityNumber: 17 }) };
    const line: SpanEvent = { name: "", log: log({ body: { stringValue: "x" } }) };
    expect(splitEvents([event, line, named, unnamed])).toEqual({
      events: [event, named, unnamed],
      lines: [line],
    });
  });
});
