import { useEffect, useState } from "react";

const SHOWN_MS = 1500;

/** Copies `text` and confirms it for a moment. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [state, setState] = useState<"idle" | "copied" | "refused">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = () => {
    // The clipboard exists only in secure contexts: localhost and HTTPS.
    if (!navigator.clipboard) return setState("refused");
    navigator.clipboard.writeText(text).then(
      () => setState("copied"),
      () => setState("refused"),
    );
  };
  return (
    <button type="button" className="tiny-button" onClick={copy} aria-label={label} title={label}>
      <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true" fill="none" stroke="currentColor">
        {state === "copied" ? (
          <path d="M3 8.5 6.5 12 13 4.5" strokeWidth="2" />
        ) : (
          <path d="M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" strokeWidth="1.3" />
        )}
      </svg>
      <span className="visually-hidden" role="status">
        {state === "copied" ? "Copied" : state === "refused" ? "The browser refused to copy" : ""}
      </span>
    </button>
  );
}
