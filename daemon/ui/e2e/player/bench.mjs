// `make bench NAME=overlay`: every canvas read back, and what the compositor shows, for each way, rate, main thread and
// detector. Writes $BENCH_OUT. A sample that is missing fails the run.

import { writeFile } from "node:fs/promises";
import { measureCompositor } from "./compositor.mjs";
import { INSECURE, launchBrowser, measure, measureWall } from "./measure.mjs";
import { startBox } from "./server.mjs";

const LONG = process.env.LONG === "1";
/** Canvases read back of each of the 24 cases. */
const COMMITS = LONG ? 4300 : 300;
/** Frames of the compositor of each way. */
const FRAMES = LONG ? 3000 : 250;
const WALL_SECONDS = LONG ? 120 : 15;

const rows = [];
const row = (metric, value, unit, better, target = null) =>
  rows.push({ metric, value, unit, better, target, baseline: null, baseline_name: null });
const say = (text) => process.stderr.write(`${text}\n`);

const box = await startBox();
let browser = await launchBrowser();
let total = 0;
let failed = 0;
for (const path of ["webcodecs", "mse", "flv"]) {
  const flv = path === "flv" ? {} : null;
  const host = path === "webcodecs" ? undefined : INSECURE;
  let [commits, wrong, unreadable] = [0, 0, 0];
  for (const fps of [30, 60]) {
    for (const jamMs of [0, 60]) {
      for (const [delayMs, jitterMs] of [
        [20, 15],
        [400, 100],
      ]) {
        const stream = `f${fps}-d${delayMs}-j${jitterMs}-s12`;
        const name = `${path}, ${fps} fps, ${jamMs ? "jammed" : "idle"}, detector ${delayMs} ± ${jitterMs} ms`;
        const found = await measure(browser, box, { stream, path, flv, host, jamMs, commits: COMMITS, settleMs: 3000 });
        commits += found.commits;
        wrong += found.wrong + found.misnamed;
        unreadable += found.unreadable;
        const share = (100 * found.settled.exact) / found.settled.commits;
        say(`${name}: ${found.commits} canvases, ${found.wrong} wrong, ${share.toFixed(1)} % with their own boxes`);
        if (found.problems.length > 0) say(`  ${found.problems.join("; ")}`);
      }
    }
  }
  total += commits;
  failed += unreadable;
  row(`${path}: canvases with boxes of another frame`, wrong, "canvases", "lower", 0);
  row(`${path}: canvases read back`, commits, "canvases", "higher");
  const screen = await measureCompositor(browser, box, {
    ...{ stream: "f30-d60-j40", path, flv, host, jamMs: 40, wanted: FRAMES },
    patienceMs: 60_000 + FRAMES * 400,
  });
  say(`${path}: ${JSON.stringify(screen)} on the screen`);
  failed += screen.unreadable;
  row(`${path}: frames on the screen with boxes of another frame`, screen.wrong, "frames", "lower", 0);
  row(`${path}: frames on the screen read`, screen.frames, "frames", "higher");
  for (const fps of [30, 60]) {
    const found = await measure(browser, box, {
      stream: `f${fps}-d0-x`,
      path,
      host,
      hold: 0,
      commits: Math.min(COMMITS, 1500),
    });
    row(`${path}, ${fps} fps: sent to canvas p50, no hold`, found.latency.p50, "ms", "lower");
    row(
      `${path}, ${fps} fps: sent to canvas p95, no hold`,
      found.latency.p95,
      "ms",
      "lower",
      path === "mse" ? 120 : 40,
    );
  }
  // A browser that has run for long is not what is measured.
  await browser.close();
  browser = await launchBrowser();
}
// What a page on a stock FLV server gets: results found by time, within 100 ms.
const stock = await measure(browser, box, {
  ...{ stream: "f30-d60-j40-b", path: "flv", flv: { stock: true }, host: INSECURE, jamMs: 40, commits: COMMITS },
});
row(
  "stock FLV, matched by time: canvases with boxes of another frame",
  (100 * stock.wrong) / stock.exact,
  "%",
  "lower",
);
say(`stock FLV, matched by time: ${stock.wrong} wrong of ${stock.exact}`);
const four = ["f30-d40-j20-a1", "f30-d150-j40-l60-a2", "f30-d90-l120-a3", "f30-d60-l20-k1-a4"];
for (const path of ["webcodecs", "mse"]) {
  const wall = await measureWall(
    browser,
    box,
    four.map((stream) => ({ stream, path })),
    { seconds: WALL_SECONDS },
  );
  say(`wall of four, ${path}: ${JSON.stringify({ ...wall, stats: undefined })}`);
  row(`wall of four, ${path}, 30 fps: spread of instants p95`, wall.p95, "ms", "lower", 1000 / 60);
}
row("canvases read back in total", total, "canvases", "higher", LONG ? 100_000 : null);
await browser.close();
box.close();
if (failed > 0) throw new Error(`${failed} samples could not be read: nothing is reported`);
if (LONG && total < 100_000) throw new Error(`${total} canvases were read back: 100,000 are wanted`);
await writeFile(process.env.BENCH_OUT ?? "/dev/stdout", `${JSON.stringify(rows, null, 2)}\n`);
