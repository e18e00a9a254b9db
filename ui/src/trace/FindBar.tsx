/** The find-in-trace box with its count and its buttons. */
import type { Ref } from "react";
import styles from "./FindBar.module.css";
import type { Find } from "./TraceView";

interface Props {
  ref: Ref<HTMLInputElement>;
  find: Find;
  active: number;
  onMove: (direction: 1 | -1) => void;
}

export function FindBar({ ref, find, active, onMove }: Props) {
  const { query, matches } = find;
  const place = matches.indexOf(active);
  return (
    <search className={styles.findBar}>
      <input
        ref={ref}
        type="search"
        value={query}
        aria-label="Find in trace"
        placeholder="Find: word, key=value, -not"
        spellCheck={false}
        onChange={(event) => find.setQuery(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            onMove(event.shiftKey ? -1 : 1);
          } else if (event.key === "Escape") {
            event.preventDefault();
            if (query) find.setQuery("");
            else event.currentTarget.blur();
          }
        }}
      />
      <span className={styles.findCount} role="status">
        {query.trim() &&
          (matches.length === 0 ? "none" : `${place >= 0 ? `${place + 1} of ` : ""}${matches.length}`)}
      </span>
      <button
        type="button"
        disabled={matches.length === 0}
        onClick={() => onMove(-1)}
        aria-label="Previous match"
      >
        ↑
      </button>
      <button type="button" disabled={matches.length === 0} onClick={() => onMove(1)} aria-label="Next match">
        ↓
      </button>
    </search>
  );
}
