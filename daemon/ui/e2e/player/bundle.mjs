// The test page and its script, bundled in memory.

import { build } from "vite";

/** Bundles what a test page loads, in memory. */
export async function bundle(entry) {
  const root = new URL("../..", import.meta.url).pathname;
  const [result] = await build({
    root,
    configFile: false,
    logLevel: "error",
    build: { write: false, minify: false, lib: { entry: `${root}${entry}`, formats: ["es"], fileName: "page" } },
    resolve: { alias: { "synoptic-player": `${root}player/src/index.ts` } },
  }).then((built) => [built].flat());
  return result.output[0].code;
}

/** The page that loads it. */
export const PAGE = `<!doctype html><meta charset="utf-8"><title>player</title>
<style>body { margin: 0; background: #111 } canvas { display: block; width: 640px; height: 360px }</style>
<body><script type="module" src="/page.js"></script></body>`;
