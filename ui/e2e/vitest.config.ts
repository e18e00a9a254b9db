import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: ["**/*.e2e.ts"],
    globalSetup: ["./server.ts"],
    // One browser at a time: the machines that run this are small.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A page draws a moment after what it was told. As long as the browser's own waiting.
    expect: { poll: { timeout: 20_000 } },
    reporters: ["default", "./failures.ts"],
  },
});
