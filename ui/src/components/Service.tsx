/** A service's name with its colour, and the mark of a failure. Shared by all pages. */
import { colourIndex, colourVar } from "../lib/colour";
import { LongText } from "./LongText";

interface ServiceNameProps {
  name: string;
  colour?: number;
  /** Whether a cut name gets a button that shows all of it. Not inside links and buttons. */
  expandable?: boolean;
}

export function ServiceName({ name, colour, expandable = false }: ServiceNameProps) {
  return (
    <span className="service-name">
      <span
        className="swatch"
        style={{ background: colourVar(colour ?? colourIndex(name)) }}
        aria-hidden="true"
      />
      {expandable ? <LongText text={name} /> : <span className="name-text">{name}</span>}
    </span>
  );
}

/** Marks a failure by shape and colour, and by a word for screen readers. */
export function FailedMark({ code }: { code?: string | null }) {
  return (
    <span className="failed-mark" title={code ? `Failed: ${code}` : "Failed"}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        <path d="M6 0.6 11.8 11.2H0.2Z" fill="currentColor" />
        <path d="M6 4v3.4M6 8.8v1.2" stroke="var(--surface)" strokeWidth="1.4" />
      </svg>
      <span className="visually-hidden">Failed</span>
      {code && <code>{code}</code>}
    </span>
  );
}
