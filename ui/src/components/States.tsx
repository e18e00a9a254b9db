/** The states of a page without data: loading, empty, or an error. */
import type { ReactNode } from "react";
import type { ApiError } from "../api/client";

export function Loading({ label }: { label: string }) {
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" />
      {label}…
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <section className="state state-block">
      <h1>{title}</h1>
      {children}
    </section>
  );
}

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div className="notice notice-error" role="alert">
      <strong>
        <span aria-hidden="true">✕ </span>
        {error.title}
      </strong>
      <p>{error.message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Warning({ children }: { children: ReactNode }) {
  return (
    <div className="notice notice-warning" role="status">
      <span aria-hidden="true">⚠ </span>
      {children}
    </div>
  );
}
