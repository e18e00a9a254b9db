/**
 * A name of any length: cut after two lines, with a button that shows the rest. Not for names inside links and buttons,
 * which must not contain a button; these use `className="clamp"`.
 */
import { useState } from "react";

/** Shorter texts fit into two lines even on a phone. */
const LONG_TEXT = 60;

export function LongText({ text }: { text: string }) {
  const [whole, setWhole] = useState(false);
  if (text.length <= LONG_TEXT) return <span className="long-text">{text}</span>;
  return (
    <>
      <span className={whole ? "long-text" : "long-text clamp"} title={whole ? undefined : text}>
        {text}
      </span>{" "}
      <button
        type="button"
        className="link-button more-text"
        aria-expanded={whole}
        onClick={() => setWhole(!whole)}
      >
        {whole ? "Less" : "Whole name"}
      </button>
    </>
  );
}
