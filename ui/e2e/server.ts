/**
 * The server under test, started once for all tests; their workers learn its address from the environment.
 *
 *   SPANDREL_URL set        that server, with the app that it brings along
 *   SPANDREL_RECORD set     the built app in front of that server, whose answers are recorded for the mock
 *   neither                 the built app in front of the recording
 *
 * A real server gets the odd spans that tests look for, by OTLP/HTTP at SPANDREL_OTLP_URL.
 */
import { fileURLToPath } from "node:url";
import { type Plugin, preview } from "vite";
import { recordedApi, replayedApi } from "./mock/plugin";
import { oddSpans, toOtlp } from "./odd";

export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  const { SPANDREL_URL, SPANDREL_RECORD } = process.env;
  const real = SPANDREL_RECORD ?? SPANDREL_URL;
  if (real) await sendOddSpans();
  if (SPANDREL_RECORD) {
    const { plugin, save } = recordedApi(SPANDREL_RECORD);
    const close = await serveApp(plugin);
    return async () => {
      await close();
      save();
    };
  }
  return SPANDREL_URL ? undefined : serveApp(replayedApi());
}

async function serveApp(api: Plugin): Promise<() => Promise<void>> {
  const server = await preview({
    root: fileURLToPath(new URL("..", import.meta.url)),
    configFile: false,
    logLevel: "warn",
    plugins: [api],
    preview: { host: "127.0.0.1", port: 0 },
  });
  const address = server.httpServer.address();
  if (address === null || typeof address === "string") throw new Error("the preview server has no port");
  process.env.SPANDREL_URL = `http://127.0.0.1:${address.port}`;
  return () => server.close();
}

async function sendOddSpans() {
  const otlp = process.env.SPANDREL_OTLP_URL;
  if (!otlp) throw new Error("SPANDREL_OTLP_URL is not set: where the server takes OTLP/HTTP");
  const response = await fetch(new URL("/v1/traces", otlp), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(toOtlp(oddSpans(BigInt(Date.now()) * 1_000_000n))),
  });
  const answer = (await response.json()) as { partialSuccess?: unknown };
  if (!response.ok || Object.keys(answer.partialSuccess ?? {}).length > 0)
    throw new Error(`the server did not take the odd spans: ${response.status} ${JSON.stringify(answer)}`);
}
