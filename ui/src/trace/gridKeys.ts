/** The keys of the waterfall: the action of a key for the active row. No React, no pixels. */
import { hasChildren, type Tree } from "./tree";

export type GridAction = { go: number } | { toggle: number } | { open: number };

export interface GridState {
  tree: Tree;
  /** Indexes of the shown rows, ascending. */
  visible: readonly number[];
  collapsed: ReadonlySet<number>;
  active: number;
  /** The position of the active row among the shown ones. */
  position: number;
  /** Rows of one screen. */
  page: number;
}

/** Null for keys without an action. */
export function gridAction(key: string, state: GridState): GridAction | null {
  const { tree, collapsed, active, position, page, visible } = state;
  const row = tree.rows[active];
  if (!row) return null;
  switch (key) {
    case "ArrowDown":
      return goTo(visible, position + 1);
    case "ArrowUp":
      return goTo(visible, position - 1);
    case "PageDown":
      return goTo(visible, position + page);
    case "PageUp":
      return goTo(visible, position - page);
    case "Home":
      return goTo(visible, 0);
    case "End":
      return goTo(visible, visible.length - 1);
    case "ArrowRight":
      if (!hasChildren(row, active)) return null;
      return collapsed.has(active) ? { toggle: active } : { go: active + 1 };
    case "ArrowLeft":
      if (hasChildren(row, active) && !collapsed.has(active)) return { toggle: active };
      return row.parent >= 0 ? { go: row.parent } : null;
    case "Enter":
    case " ":
      return { open: active };
    default:
      return null;
  }
}

function goTo(visible: readonly number[], position: number): GridAction | null {
  const index = visible[Math.min(visible.length - 1, Math.max(0, position))];
  return index === undefined ? null : { go: index };
}

/** The position of a row in `visible`, which is sorted, by binary search. */
export function placeOf(visible: readonly number[], index: number): number {
  let low = 0;
  let high = visible.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const at = visible[middle] as number;
    if (at === index) return middle;
    if (at < index) low = middle + 1;
    else high = middle - 1;
  }
  // The row is inside a collapsed one, and its nearest shown ancestor is just before.
  return Math.max(0, high);
}
