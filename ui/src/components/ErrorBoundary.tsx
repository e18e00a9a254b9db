/**
 * Shows an error in place of the part of the page that threw it, with a link to go on. Errors of the API are not
 * thrown: pages show them by `Failure`.
 */
import { Component, type ReactNode } from "react";
import { linkTo } from "../address/address";

interface Props {
  children: ReactNode;
}

interface State {
  error: Error | null;
}

export class ErrorBoundary extends Component<Props, State> {
  state: State = { error: null };

  static getDerivedStateFromError(thrown: unknown): State {
    return { error: thrown instanceof Error ? thrown : new Error(String(thrown)) };
  }

  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <section className="state state-block" role="alert">
        <h1>This page could not be shown</h1>
        <p>
          An error in the page itself stopped it. The server and what it stores are not affected.{" "}
          {isMissingFile(error)
            ? "A file of the app is missing: the server was probably updated since the page was opened. Reload it."
            : "Reload the page, or go on from another one."}
        </p>
        <p>
          <code>
            {error.name}: {error.message}
          </code>
        </p>
        <p>
          <button type="button" className="primary" onClick={() => window.location.reload()}>
            Reload the page
          </button>{" "}
          <button type="button" onClick={() => this.setState({ error: null })}>
            Try again
          </button>
        </p>
        <p>
          {/* A plain anchor, because the app's own link may be broken as well. */}
          <a href={linkTo("/")}>Search for traces</a>
        </p>
      </section>
    );
  }
}

/** Browsers use different texts, but all mention the module that could not be imported. */
function isMissingFile(error: Error): boolean {
  return /import(ing|ed)? .*module|module script/i.test(error.message);
}
