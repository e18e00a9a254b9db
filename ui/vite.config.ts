import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The server that `npm run dev` asks.
const server = process.env.SPANDREL_URL ?? "http://127.0.0.1:16686";

// The first versions with light-dark(): nothing is rewritten for older ones.
const cssTarget = ["chrome123", "firefox121", "safari17.5"];

export default defineConfig({
  // Relative, so that the built files work under any path prefix (index.html carries the base).
  base: "./",
  plugins: [react()],
  build: { outDir: "dist", emptyOutDir: true, target: "es2022", cssTarget },
  server: { proxy: { "/api": { target: server, changeOrigin: true } } },
  test: { include: ["src/**/*.test.ts"] },
});
