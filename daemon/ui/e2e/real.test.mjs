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
let hlsScript;
before(async () => {
  assert.ok(base, "set SYNOPTIC_URL to the address of a running daemon");
  [browser, script, hlsScript] = await Promise.all([
    launch(),
    bundle("e2e/player/page.mjs"),
    bundle("e2e/player/hls.mjs"),
  ]);
});
after(() => browser?.close());

/** A document of the box itself, under its own content security policy, with nothing else that plays. */
async function openBare(code) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.route(`${base}/page.js`, (route) => route.fulfill({ contentType: "text/javascript", body: code }));
  await page.goto(`${base}/api/v1/status`);
  await page.evaluate(() => {
    // In place of the text: a canvas that it pushes out of view is not played.
    document.body.replaceChildren(Object.assign(document.createElement("script"), { type: "module", src: "/page.js" }));
  });
  const status = await (await fetch(`${base}/api/v1/status`)).json();
  const camera = status.cameras.find(({ status }) => status.state === "online");
  assert.ok(camera, "no camera is online");
  return { context, page, camera };
}

const middle = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

for (const path of ["webcodecs", "mse", "webrtc"]) {
  test(`pictures of the daemon carry their own boxes: ${path}`, async () => {
    const { context, page, camera } = await openBare(script);
    await page.waitForFunction(() => globalThis.probe !== undefined);
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

test("WHEP tells capture times in RTP headers, and a session that is deleted is gone", async () => {
  const { context, page, camera } = await openBare(script);
  const found = await page.evaluate(async (stream) => {
    const url = `/api/v1/streams/${stream}/whep`;
    const connection = new RTCPeerConnection();
    const transceiver = connection.addTransceiver("video", { direction: "recvonly" });
    const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
    const ours = extensions.find(({ uri }) => uri.endsWith("abs-capture-time"));
    if (!ours) return { unable: true };
    ours.direction = "recvonly";
    transceiver.setHeaderExtensionsToNegotiate(extensions);
    await connection.setLocalDescription();
    const body = connection.localDescription.sdp;
    const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/sdp" } });
    const sdp = await answer.text();
    await connection.setRemoteDescription({ type: "answer", sdp });
    const began = performance.now();
    let captured;
    while (captured === undefined && performance.now() - began < 30_000) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      captured = transceiver.receiver.getSynchronizationSources()[0]?.captureTimestamp;
    }
    const place = answer.headers.get("location");
    const ends = [];
    for (let n = 0; n < 2; n += 1) ends.push((await fetch(place, { method: "DELETE" })).status);
    connection.close();
    // NTP counts from 1900.
    return { status: answer.status, ago: captured && Date.now() - (captured - 2_208_988_800_000), ends, sdp };
  }, camera.id);
  const told = JSON.stringify(found);
  if (found.unable) return console.log("# SKIPPED: this browser has no abs-capture-time");
  assert.equal(found.status, 201, told);
  assert.deepEqual(found.ends, [200, 404], told);
  assert.ok(found.ago > -50 && found.ago < 5000, told);
  console.log(`# WHEP: the newest picture was captured ${found.ago.toFixed(0)} ms ago by its RTP header`);
  await context.close();
});

test("hls.js dates each picture by its capture", async () => {
  const { context, page, camera } = await openBare(hlsScript);
  await page.waitForFunction(() => globalThis.hlsProbe !== undefined);
  await page.evaluate((stream) => {
    globalThis.run = globalThis.hlsProbe.start({ stream });
  }, camera.id);
  const enough = (most) => globalThis.run.found.off.length >= most || globalThis.run.found.fatal.length > 0;
  await page.waitForFunction(enough, COMMITS, { timeout: 60_000, polling: 100 }).catch(() => {});
  const found = await page.evaluate(() => globalThis.run.found);
  const told = JSON.stringify(found);
  assert.deepEqual(found.fatal, [], told);
  assert.ok(found.off.length >= COMMITS, told);
  assert.equal(found.unreadable, 0, told);
  assert.equal(found.undated, 0, told);
  // Another picture's date would be off by an interval of pictures.
  const half = 500 / camera.stream.fps_delivered;
  const usual = middle(found.off);
  const wrong = found.off.filter((off) => Math.abs(off - usual) > half);
  assert.deepEqual(wrong, [], told);
  assert.ok(Math.abs(usual) < half, told);
  console.log(
    `# hls.js: ${found.off.length} pictures, dated ${usual.toFixed(1)} ms off, capture to canvas ${middle(found.latencies).toFixed(0)} ms`,
  );
  await context.close();
});
