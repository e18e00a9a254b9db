/** `npm run dev:mock`: the app with recorded answers, no server needed. */
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { replayedApi } from "./plugin";

export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  plugins: [react(), replayedApi()],
});
