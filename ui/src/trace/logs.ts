/** What came as logs of a span: told apart from its events, with severity and body as text. No React. */
import type { AnyValue, SpanEvent, SpanLog } from "../api/types";
import { valueText } from "../lib/attributes";

export type Level = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

const LEVELS: readonly Level[] = ["trace", "debug", "info", "warn", "error", "fatal"];

/** OpenTelemetry has four numbers for each level, from 1 on. */
export function levelOf(severityNumber: number): Level | null {
  return severityNumber < 1 ? null : (LEVELS[Math.floor((severityNumber - 1) / 4)] ?? null);
}

/** The severity as its sender names it, else the name of its level; empty without one. */
export function severityOf(log: SpanLog): string {
  return log.severityText || (levelOf(log.severityNumber)?.toUpperCase() ?? "");
}

/** The body as one text; empty without one. */
export function bodyOf(log: SpanLog): string {
  return log.body ? valueText(log.body as AnyValue) : "";
}

/** A log without an event name is a line of a log; everything else happened to the span. */
export function splitEvents(all: readonly SpanEvent[]): { events: SpanEvent[]; lines: SpanEvent[] } {
  const isLine = (event: SpanEvent) => event.log !== undefined && !event.name;
  return { events: all.filter((event) => !isLine(event)), lines: all.filter(isLine) };
}
