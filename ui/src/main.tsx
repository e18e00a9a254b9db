/** Starts the app. The path it lives under comes from the document's `<base>`. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/search.css";
import "./styles/trace.css";
import "./styles/detail.css";
import "./styles/services.css";

const root = document.getElementById("root");
if (root) {
  const base = new URL(document.baseURI).pathname.replace(/\/$/, "");
  createRoot(root).render(
    <StrictMode>
      <App base={base} />
    </StrictMode>,
  );
}
