/** Find in trace: parses the text of the box, and finds the rows that match. */
import type { KeyValue, Trace } from "../api/types";
import { valueText } from "../lib/attributes";
import { bodyOf, severityOf } from "./logs";
import type { Row } from "./tree";

interface Term {
  text: string;
  excluded: boolean;
}

/** Words that must all occur; `"two words"` is one word, and `-word` must not occur. */
export function parseTerms(query: string): Term[] {
  const terms: Term[] = [];
  for (const match of query.matchAll(/(-?)(?:"([^"]*)"?|(\S+))/g)) {
    const text = (match[2] ?? match[3] ?? "").toLowerCase();
    if (text) terms.push({ text, excluded: match[1] === "-" });
  }
  return terms;
}

/** Lower-case text of a row: everything in the row and its details. Attributes read `key=value`. */
export function rowText(row: Row, trace: Trace): string {
  const { segment, span } = row;
  const parts = [segment.service, segment.instance ?? ""];
  if (span) {
    parts.push(
      span.id,
      span.name,
      span.kind,
      span.status,
      span.statusMessage,
      span.errorCode ?? "",
      span.traceState,
    );
    parts.push(
      attributesText(span.attributes),
      attributesText(trace.resources[span.resource]?.attributes ?? []),
    );
    parts.push(trace.scopes[span.scope]?.name ?? "", ...span.warnings);
    for (const event of span.events) {
      parts.push(event.name ?? "", attributesText(event.attributes ?? []));
      if (event.log) parts.push(severityOf(event.log), bodyOf(event.log));
    }
    for (const link of span.links)
      parts.push(link.traceId ?? "", link.spanId ?? "", attributesText(link.attributes ?? []));
  }
  return parts.join("\n").toLowerCase();
}

function attributesText(attributes: readonly KeyValue[]): string {
  return attributes.map((entry) => `${entry.key}=${valueText(entry.value)}`).join("\n");
}

/** Indexes of the spans that match, in tree order. An empty query matches nothing. */
export function findRows(rows: readonly Row[], texts: readonly string[], query: string): number[] {
  const terms = parseTerms(query);
  if (terms.length === 0) return [];
  const found: number[] = [];
  for (let index = 0; index < rows.length; index++) {
    const text = texts[index] ?? "";
    if (rows[index]?.span && terms.every((term) => text.includes(term.text) !== term.excluded))
      found.push(index);
  }
  return found;
}
