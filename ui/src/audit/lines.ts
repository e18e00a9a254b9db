/** Reading the audit log from its end, and finding lines in it. */
import { apiUrl, send } from "../api/client";
import type { AuditLine } from "../api/types";

/** Lines that are asked for at once. */
export const PAGE = 200;

/** Asks for lines after a number. */
export type Ask = (after: number, limit: number, signal: AbortSignal) => Promise<Answer>;

export interface Answer {
  lines: AuditLine[];
  /** The number of the last line of the log; null before the first. */
  head: number | null;
}

export interface Page {
  /** The newest first. */
  lines: AuditLine[];
  /** The number of the oldest line that was asked for; older ones are below it. */
  from: number;
}

export const askServer: Ask = async (after, limit, signal) => {
  const response = await send(apiUrl(["audit"], { after, limit }), { signal, ofServer: true });
  const head = /^(\d+):/.exec(response.headers.get("x-audit-head") ?? "");
  return { lines: readLines(await response.text()), head: head ? Number(head[1]) : null };
};

/** Lines that are no JSON are damaged, which `spandrel audit verify` tells; here they are left out. */
export function readLines(text: string): AuditLine[] {
  return text.split("\n").flatMap((line) => {
    try {
      const read: unknown = JSON.parse(line);
      return isLine(read) ? [read] : [];
    } catch {
      return [];
    }
  });
}

function isLine(read: unknown): read is AuditLine {
  return typeof read === "object" && read !== null && "seq" in read && typeof read.seq === "number";
}

/** The last lines of the log. */
export async function newestLines(signal: AbortSignal, ask: Ask = askServer): Promise<Page> {
  // No log has so many lines: the answer is its head alone.
  const { head } = await ask(Number.MAX_SAFE_INTEGER, 1, signal);
  return linesBefore((head ?? 0) + 1, signal, ask);
}

/** The lines before the one with this number. An answer ends at some bytes, so it may take several. */
export async function linesBefore(seq: number, signal: AbortSignal, ask: Ask = askServer): Promise<Page> {
  const from = Math.max(1, seq - PAGE);
  const lines: AuditLine[] = [];
  let after = from - 1;
  while (after < seq - 1) {
    const answer = await ask(after, seq - 1 - after, signal);
    const last = answer.lines.at(-1);
    if (!last) break;
    lines.push(...answer.lines.filter((line) => line.seq < seq));
    after = last.seq;
  }
  return { lines: lines.reverse(), from };
}

/** Whether all words of the text are somewhere in the line, in any case. */
export function matches(line: AuditLine, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const values = Object.entries(line).map(([key, value]) => `${key} ${show(value)}`);
  const whole = values.join(" ").toLowerCase();
  return words.every((word) => whole.includes(word));
}

/** A value of a line as text. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
