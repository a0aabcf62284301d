import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  // The player from its sources: the page needs no build of it.
  resolve: { alias: { "synoptic-player": fileURLToPath(new URL("./player/src/index.ts", import.meta.url)) } },
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  // `npm run dev` shows the page with a daemon that already runs.
  server: {
    proxy: { "/api": { target: process.env.SYNOPTIC_URL ?? "http://127.0.0.1:8480", changeOrigin: true, ws: true } },
  },
});
