// Boxes on the very frame, against the real daemon with simulated cameras (SYNOPTIC_URL): the true capture time that each
// picture carries as a barcode, against that of the boxes drawn on it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, launch } from "./browser.mjs";
import { bundle } from "./player/bundle.mjs";
import { until } from "./player/measure.mjs";

const COMMITS = 60;
let browser;
let script;
before(async () => {
  assert.ok(base, "set SYNOPTIC_URL to the address of a running daemon");
  [browser, script] = await Promise.all([launch(), bundle("e2e/player/page.mjs")]);
});
after(() => browser?.close());

for (const path of ["webcodecs", "mse"]) {
  test(`pictures of the daemon carry their own boxes: ${path}`, async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    // A document of the box itself, under its own content security policy, with nothing else that plays.
    await page.route(`${base}/page.js`, (route) => route.fulfill({ contentType: "text/javascript", body: script }));
    await page.goto(`${base}/api/v1/status`);
    await page.evaluate(() => {
      // In place of the text: a canvas that it pushes out of view is not played.
      document.body.replaceChildren(
        Object.assign(document.createElement("script"), { type: "module", src: "/page.js" }),
      );
    });
    await page.waitForFunction(() => globalThis.probe !== undefined);
    const status = await (await fetch(`${base}/api/v1/status`)).json();
    const camera = status.cameras.find(({ status }) => status.state === "online");
    assert.ok(camera, "no camera is online");
    await page.evaluate(
      (wish) => {
        globalThis.run = globalThis.probe.startReal(wish);
      },
      { stream: camera.id, path },
    );
    await until(page, "boxes", (most) => globalThis.run.found.withBoxes >= most, COMMITS, 60_000);
    const { found, stats } = await page.evaluate(() => ({
      found: globalThis.run.found,
      stats: globalThis.run.player.stats(),
    }));
    const told = JSON.stringify({ ...found, keys: null, boxes: null, claimed: null, latencies: null, stats });
    assert.equal(found.path, path, told);
    assert.equal(found.unreadable, 0, told);
    assert.deepEqual(found.problems, [], told);
    // The key's media time runs with the camera's clock, so that another frame would be off by an interval of frames,
    // whatever the daemon makes of the capture time.
    const half = 500 / camera.stream.fps_delivered;
    const middle = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
    for (const [epoch, keys] of Object.entries(found.keys)) {
      const usual = middle(keys);
      const wrong = [...keys, ...(found.boxes[epoch] ?? [])].filter((off) => Math.abs(off - usual) > half);
      assert.deepEqual(wrong, [], `epoch ${epoch}: ${told}`);
    }
    assert.deepEqual(
      Object.keys(found.boxes).filter((epoch) => !(epoch in found.keys)),
      [],
      told,
    );
    assert.ok(Math.abs(middle(found.claimed)) < half, told);
    console.log(
      `# ${path}: ${found.commits} canvases, held ${stats.holdMs.toFixed(0)} ms, capture to canvas ${middle(found.latencies).toFixed(0)} ms`,
    );
    await context.close();
  });
}
