/**
 * The API under `/api/v1` of Vite's development and preview servers: replayed from the recording, or
 * passed on to a real server and recorded.
 * `SPANDREL_MOCK_EMPTY=1` replays an empty store, to see what a newcomer sees.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Connect, Plugin } from "vite";
import { keyOf, type Recording, type Reply, replay } from "./recording";

/** The strictest that a server may send: the app loads nothing from elsewhere and inlines nothing. */
const CONTENT_SECURITY_POLICY = "default-src 'self'";

const FILE = new URL("./recorded.json", import.meta.url);

const EMPTY: Record<string, unknown> = {
  "/api/v1/traces": {
    traces: [],
    nextCursor: null,
    partial: false,
    scanned: { blocks: 0, blocksRead: 0, spans: 0 },
  },
  "/api/v1/services": { services: [] },
  "/api/v1/aggregates": { stepNano: 60_000_000_000, series: [], estimated: false, partial: false },
};

type Answer = (url: URL) => Reply | Promise<Reply>;

export function replayedApi(): Plugin {
  const recording = JSON.parse(readFileSync(FILE, "utf8")) as Recording;
  return apiPlugin((url) => {
    const reply = replay(recording, url, BigInt(Date.now()) * 1_000_000n);
    if (!process.env.SPANDREL_MOCK_EMPTY) return reply;
    if (url.pathname === "/api/v1/status")
      return { status: 200, body: { ...(reply.body as object), spanCount: 0 } };
    return { status: 200, body: EMPTY[url.pathname] ?? {} };
  });
}

/** Passes everything on to the server at `target`; `save` writes down what it answered. */
export function recordedApi(target: string): { plugin: Plugin; save: () => void } {
  const recordedUnixNano = String(BigInt(Date.now()) * 1_000_000n);
  const replies: Recording["replies"] = {};
  const plugin = apiPlugin(async (url) => {
    const response = await fetch(new URL(url.pathname + url.search, target));
    const reply = { status: response.status, body: await response.json() };
    replies[keyOf(url)] = reply;
    return reply;
  });
  const save = () => {
    const sorted = Object.entries(replies).sort(([a], [b]) => (a < b ? -1 : 1));
    // One reply a line, so that a difference shows which one it is.
    const lines = sorted.map(([key, reply]) => `${JSON.stringify(key)}: ${JSON.stringify(reply)}`);
    const head = `"recordedUnixNano": ${JSON.stringify(recordedUnixNano)}`;
    writeFileSync(FILE, `{\n${head},\n"replies": {\n${lines.join(",\n")}\n}\n}\n`);
  };
  return { plugin, save };
}

function apiPlugin(answer: Answer): Plugin {
  const handle = (request: IncomingMessage, response: ServerResponse, next: Connect.NextFunction) => {
    response.setHeader("content-security-policy", CONTENT_SECURITY_POLICY);
    const url = new URL(request.url ?? "/", "http://mock");
    if (!url.pathname.startsWith("/api/")) return next();
    Promise.resolve(answer(url)).then(({ status, body }) => {
      response.statusCode = status;
      response.setHeader("content-type", status < 400 ? "application/json" : "application/problem+json");
      response.end(JSON.stringify(body));
    }, next);
  };
  return {
    name: "spandrel-api",
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
