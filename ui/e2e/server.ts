/**
 * The server under test: `SPANDREL_URL`, or the built app in front of the made-up API.
 * Started once for all tests; their workers learn its address from the environment.
 */
import { fileURLToPath } from "node:url";
import { preview } from "vite";
import { mockApi } from "./mock/plugin";

export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env.SPANDREL_URL) return undefined;
  const server = await preview({
    root: fileURLToPath(new URL("..", import.meta.url)),
    configFile: false,
    logLevel: "warn",
    plugins: [mockApi()],
    preview: { host: "127.0.0.1", port: 0 },
  });
  const address = server.httpServer.address();
  if (address === null || typeof address === "string") throw new Error("the preview server has no port");
  process.env.SPANDREL_URL = `http://127.0.0.1:${address.port}`;
  return () => server.close();
}
