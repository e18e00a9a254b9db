/** A dialog with the list of keys. */
import { useEffect, useRef } from "react";
import styles from "./Shortcuts.module.css";

const KEYS: [string, string][] = [
  ["↑ ↓", "Previous, next row"],
  ["←", "Collapse, or go to the parent"],
  ["→", "Expand, or go to the first child"],
  ["Home End", "First, last row"],
  ["PgUp PgDn", "One screen up, down"],
  ["Enter", "Open the details"],
  ["Esc", "Close the details, then show the whole trace"],
  ["/", "Find in trace"],
  ["n N", "Next, previous match"],
  ["e E", "Next, previous failed span"],
  ["[ ]", "Collapse, expand everything"],
  ["s", "With or without segments"],
  ["h", "Hops of a mesh, where proxies sent spans"],
  ["f", "Fold proxies into their applications, or show them"],
  ["+ −", "Zoom in, out around the row"],
  ["0", "Show the whole trace"],
  ["?", "This list"],
];

export function Shortcuts({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} className={styles.shortcuts} onClose={onClose} aria-labelledby="shortcuts-title">
      <h2 id="shortcuts-title">Keyboard shortcuts</h2>
      <dl>
        {KEYS.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
