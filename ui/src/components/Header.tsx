/** The bar on top of every page: navigation, and the box that opens a trace by its ID. */
import { type FormEvent, useState } from "react";
import { AccountMenu } from "../access/AccountMenu";
import { useMe } from "../access/me";
import { readsSpans } from "../access/pages";
import { TenantSwitch } from "../access/TenantSwitch";
import { navigate, usePath } from "../address/address";
import { Link } from "../address/Link";
import { meshPath, servicesPath, tracePath } from "../address/routes";
import { parseTraceId } from "../lib/ids";
import styles from "./Header.module.css";
import { THEMES, useTheme } from "./useTheme";

export function Header() {
  const path = usePath();
  const { me, loading } = useMe();
  const reads = readsSpans(me);
  return (
    <header className={styles.topbar}>
      <Link to="/" className={styles.brand}>
        <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
          <path d="M4 26V12A10 10 0 0 1 14 5h14" fill="none" stroke="currentColor" strokeWidth="3" />
          <path d="M12 13h16M12 19h9M17 25h11" stroke="var(--accent)" strokeWidth="3" />
        </svg>
        Spandrel
      </Link>
      {reads && (
        <nav aria-label="Main">
          <Link to="/" aria-current={path === "/" ? "page" : undefined}>
            Search
          </Link>
          <Link to={servicesPath()} aria-current={path.startsWith("/services") ? "page" : undefined}>
            Services
          </Link>
          <Link to={meshPath()} aria-current={path === "/mesh" ? "page" : undefined}>
            Mesh
          </Link>
        </nav>
      )}
      <div className={styles.traceBox}>{reads && <TraceBox />}</div>
      {reads && <TenantSwitch me={me} />}
      {!loading && <AccountMenu me={me} />}
      <ThemeButton />
    </header>
  );
}

function TraceBox() {
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const id = parseTraceId(text);
    if (!id) {
      setError("A trace ID is 1 to 32 hexadecimal digits, not all zero.");
      return;
    }
    setText("");
    setError("");
    navigate(tracePath(id));
  };
  return (
    <search>
      <form aria-label="Go to trace" onSubmit={submit}>
        <input
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setError("");
          }}
          aria-label="Trace ID"
          aria-invalid={error !== ""}
          aria-describedby={error ? "trace-box-error" : undefined}
          placeholder="Go to trace ID"
          spellCheck={false}
          autoComplete="off"
        />
        {error && (
          <p id="trace-box-error" className={styles.traceBoxError} role="alert">
            {error}
          </p>
        )}
      </form>
    </search>
  );
}

const THEME_ICONS = { system: "◐", light: "☀", dark: "☾" } as const;

function ThemeButton() {
  const [theme, setTheme] = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      className="icon-button"
      onClick={() => setTheme(next)}
      aria-label={`Theme: ${theme}. Switch to ${next}.`}
      title={`Theme: ${theme}`}
    >
      <span aria-hidden="true">{THEME_ICONS[theme]}</span>
    </button>
  );
}
