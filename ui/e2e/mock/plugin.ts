/**
 * Puts the made-up API under `/api/v1` of Vite's development and preview servers.
 * `SPANDREL_MOCK_EMPTY=1` starts with nothing stored, to see what a newcomer sees.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Connect, Plugin } from "vite";
import { answer } from "./api";
import { makeWorld } from "./world";

/** The strictest that a server may send: the app loads nothing from elsewhere and inlines nothing. */
const CONTENT_SECURITY_POLICY = "default-src 'self'";

export function mockApi(): Plugin {
  const traces = process.env.SPANDREL_MOCK_EMPTY ? [] : makeWorld(BigInt(Date.now()) * 1_000_000n);
  const handle = (request: IncomingMessage, response: ServerResponse, next: Connect.NextFunction) => {
    response.setHeader("content-security-policy", CONTENT_SECURITY_POLICY);
    const url = new URL(request.url ?? "/", "http://mock");
    if (!url.pathname.startsWith("/api/")) return next();
    const { status, body } = answer(traces, url.pathname.replace(/^\/api\/v1\//, ""), url.searchParams);
    response.statusCode = status;
    response.setHeader("content-type", status < 400 ? "application/json" : "application/problem+json");
    response.end(JSON.stringify(body));
  };
  return {
    name: "spandrel-mock-api",
    configureServer: (server) => {
      // Vite's hot reload needs inline scripts; only the preview of the built files can be strict.
      server.middlewares.use((request, response, next) => {
        handle(request, response, () => {
          response.removeHeader("content-security-policy");
          next();
        });
      });
    },
    configurePreviewServer: (server) => {
      server.middlewares.use(handle);
    },
  };
}
