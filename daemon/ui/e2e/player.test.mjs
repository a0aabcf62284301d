// The player in a real browser, against a box made of a clip (e2e/player/server.mjs): the picture's own barcode against that
// of its boxes, read back from the canvas. The long form is `make bench NAME=overlay`.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { INSECURE, launchBrowser, measure, openPage, until } from "./player/measure.mjs";
import { startBox } from "./player/server.mjs";

let box;
let browser;
before(async () => {
  [box, browser] = await Promise.all([startBox(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  box?.close();
});

const CASES = [
  { path: "webcodecs", stream: "f30-d20-j15", commits: 90 },
  { path: "webcodecs", stream: "f60-d200-j80-s10", jamMs: 60, commits: 150 },
  { path: "mse", stream: "f30-d80-j40", host: INSECURE, commits: 90 },
  { path: "mse", stream: "f60-d200-j80-s10-k7", jamMs: 60, host: INSECURE, commits: 150 },
  { path: "flv", stream: "f30-d60-j40", flv: {}, host: INSECURE, commits: 90 },
];
for (const { path, stream, ...rest } of CASES) {
  const jammed = rest.jamMs ? ", jammed" : "";
  test(`boxes are those of the picture: ${path}, ${stream}${jammed}`, async () => {
    const found = await measure(browser, box, { path, stream, ...rest });
    const told = JSON.stringify(found);
    assert.equal(found.wrong, 0, told);
    assert.equal(found.misnamed, 0, told);
    assert.equal(found.unreadable, 0, told);
    assert.equal(found.backwards, 0, told);
    assert.ok(found.settled.commits >= rest.commits, told);
    assert.ok(found.exact > rest.commits / 3, told);
    assert.equal(found.stats.path, path);
    assert.deepEqual(found.complaints, []);
    assert.deepEqual(found.problems, []);
  });
}

async function playing(stream, more = {}) {
  const opened = await openPage(browser, box);
  await opened.page.evaluate(
    (wish) => {
      globalThis.run = globalThis.probe.start(wish);
    },
    { stream, path: "auto", ...more },
  );
  await until(opened.page, "a picture", () => globalThis.run.found.commits > 0);
  return opened;
}
const more = (page, what = "more pictures", count = 8) =>
  page
    .evaluate(() => globalThis.run.found.commits)
    .then((now) => until(page, what, (most) => globalThis.run.found.commits >= most, now + count));

for (const path of ["webcodecs", "mse"]) {
  test(`faults of the stream are lived through: ${path}`, async () => {
    const stream = path === "mse" ? "f30-d40-m1" : "f30-d40-w1";
    const { page, complaints, close } = await playing(stream, { path });
    for (const kind of ["gap", "epoch", "close", "waiting"]) {
      box.stream(stream).fault(kind);
      if (kind === "waiting") {
        await until(page, "waiting", () => globalThis.run.player.stats().state === "waiting");
        box.stream(stream).fault(kind);
      }
      await more(page, `pictures after ${kind}`);
    }
    const { found, stats } = await page.evaluate(() => ({
      found: { ...globalThis.run.found, latencies: null },
      stats: globalThis.run.player.stats(),
    }));
    const told = JSON.stringify({ found, stats });
    assert.deepEqual([found.wrong, found.misnamed, found.unreadable], [0, 0, 0], told);
    assert.equal(stats.source.reconnects, 1, told);
    for (const state of ["gap", "waiting", "reconnecting"]) {
      assert.ok(
        found.states.some((seen) => seen.startsWith(state)),
        `${state} was not seen: ${told}`,
      );
    }
    assert.deepEqual(complaints, []);
    await close();
  });
}

test("pause, snapshot of the very frame, and on", async () => {
  const { page, close } = await playing("f30-d30-p1");
  await more(page);
  const paused = await page.evaluate(async () => {
    const { player, found } = globalThis.run;
    player.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const commits = found.commits;
    const image = await createImageBitmap(await player.snapshot());
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return {
      code: globalThis.probe.readCode(context, 0),
      index: globalThis.probe.indexOf(player.shown.key.mediaUs, 30),
      stood: found.commits === commits,
      state: player.stats().state,
      size: [image.width, image.height],
    };
  });
  assert.equal(paused.code?.number, paused.index);
  assert.deepEqual([paused.stood, paused.state, paused.size], [true, "paused", [640, 360]]);
  await page.evaluate(() => globalThis.run.player.resume());
  await more(page, "pictures after the pause");
  await close();
});

test("the canvas has the pixels of the screen", async () => {
  const { page, close } = await playing("f30-d30-q1", { options: { resolution: "element" }, readBack: false });
  await page.evaluate(() => {
    globalThis.run.canvas.style.width = "320px";
    globalThis.run.canvas.style.height = "180px";
  });
  await until(
    page,
    "a smaller canvas",
    () => globalThis.run.canvas.width === 320 && globalThis.run.canvas.height === 180,
  );
  await close();
});
