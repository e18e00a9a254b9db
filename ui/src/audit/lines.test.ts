import { describe, expect, it } from "vitest";
import type { AuditLine } from "../api/types";
import { type Ask, linesBefore, matches, newestLines, PAGE, readLines } from "./lines";

function line(seq: number, more: Record<string, unknown> = {}): AuditLine {
  return { seq, time: "2026-01-31T12:00:00.000000Z", event: "question", prev: "0".repeat(64), ...more };
}

/** A log with the lines `first` to `head`, of which an answer holds at most `most`. */
function log(first: number, head: number, most = 10_000): { ask: Ask; asked: number[] } {
  const asked: number[] = [];
  const ask: Ask = async (after, limit) => {
    asked.push(after);
    const start = Math.max(first, after + 1);
    const count = Math.max(0, Math.min(limit, most, head - start + 1));
    return { lines: Array.from({ length: count }, (_, at) => line(start + at)), head: head || null };
  };
  return { ask, asked };
}

const { signal } = new AbortController();

function numbers(lines: AuditLine[]): number[] {
  return lines.map(({ seq }) => seq);
}

describe("the audit log from its end", () => {
  it("begins with the newest line", async () => {
    const { ask } = log(1, 1000);
    const page = await newestLines(signal, ask);
    expect(numbers(page.lines)).toEqual(Array.from({ length: PAGE }, (_, at) => 1000 - at));
    const older = await linesBefore(page.from, signal, ask);
    expect(older.lines[0]?.seq).toBe(1000 - PAGE);
  });

  it("ends where lines were removed for their age, without repeating any", async () => {
    const { ask } = log(950, 1000);
    const page = await newestLines(signal, ask);
    expect(numbers(page.lines)).toEqual(Array.from({ length: 51 }, (_, at) => 1000 - at));
    expect((await linesBefore(page.from, signal, ask)).lines).toEqual([]);
  });

  it("has no hole where answers end early", async () => {
    const { ask, asked } = log(1, 300, 70);
    const { lines } = await newestLines(signal, ask);
    expect(numbers(lines)).toEqual(Array.from({ length: PAGE }, (_, at) => 300 - at));
    expect(asked.length).toBe(4);
  });

  it("may be empty", async () => {
    expect(await newestLines(signal, log(1, 0).ask)).toEqual({ lines: [], from: 1 });
  });
});

describe("lines", () => {
  it("that are broken are left out", () => {
    const text = `${JSON.stringify(line(1))}\n{"seq":\nnull\n3\n${JSON.stringify(line(2))}\n`;
    expect(numbers(readLines(text))).toEqual([1, 2]);
  });

  it("are found by any of their members", () => {
    const refused = line(1, { who: "Grafana", status: 403, body: "{}", removed: { first: 3 } });
    for (const text of ["grafana", "403 graf", "status 403", '"first":3', "  ", "QUESTION"])
      expect(matches(refused, text), text).toBe(true);
    expect(matches(refused, "grafana 404")).toBe(false);
  });
});
