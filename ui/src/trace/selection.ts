/** Converts the selection of a trace between rows and the address. */
import type { Tree } from "./tree";

/** On the row of a segment, `span` is its entry span, so that the address also works in a view without segments. */
export interface Selection {
  span: string | undefined;
  segment: string | undefined;
}

export const NOTHING: Selection = { span: undefined, segment: undefined };

export function readSelection(params: URLSearchParams): Selection {
  return { span: params.get("span") ?? undefined, segment: params.get("segment") ?? undefined };
}

/** The selected row; -1 if there is none, or it is not in the trace. */
export function rowOf(tree: Tree, { span, segment }: Selection): number {
  if (segment !== undefined) {
    const row = tree.rows.findIndex((row) => row.span === null && row.segment.id === segment);
    if (row >= 0) return row;
  }
  if (span === undefined) return -1;
  const own = tree.rows.findIndex((row) => row.span?.id === span);
  // A proxy that is a part of another span is shown there.
  return own >= 0
    ? own
    : tree.rows.findIndex((row) => row.span?.folded?.some((part) => part.id === span) ?? false);
}

export function selectionOf(tree: Tree, index: number): Selection {
  const row = tree.rows[index];
  if (!row) return NOTHING;
  if (row.span) return { span: row.span.id, segment: undefined };
  return { span: row.segment.spans[0]?.id, segment: row.segment.id };
}

export function isSame(a: Selection, b: Selection): boolean {
  return a.span === b.span && a.segment === b.segment;
}
