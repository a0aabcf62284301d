// The page in a real browser against a real daemon: SYNOPTIC_URL names it, SYNOPTIC_SHOTS a folder for screenshots,
// SYNOPTIC_ADD a source for the camera that is added and removed (an RTSP address; without it that test is skipped),
// SYNOPTIC_PASSWORD the password where one is wanted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, colours, launch, open, shot, until } from "./browser.mjs";

let browser;
before(async () => {
  assert.ok(base, "set SYNOPTIC_URL to the address of a running daemon");
  browser = await launch();
});
after(() => browser?.close());

async function ready(page) {
  const password = process.env.SYNOPTIC_PASSWORD;
  if (password) {
    await page.locator("input[name=password]").fill(password);
    const again = page.locator("input[name=repeat]");
    if (await again.count()) await again.fill(password);
    await page.locator("button[type=submit]").click();
  }
  await page.locator(".top h1").waitFor({ timeout: 15_000 });
}

test("cameras show live pictures", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const cards = page.locator("[data-camera]");
  await cards.first().waitFor();
  const online = page.locator("[data-camera]:has(.title .chip.good)");
  await until(page, "a camera that is online", () => online.count());
  for (const card of await online.all()) {
    const name = await card.getAttribute("data-camera");
    const canvas = card.locator("canvas");
    await until(page, `a picture of ${name}`, async () => (await colours(canvas)) > 8);
    const picture = card.locator(".picture");
    const first = await picture.getAttribute("data-key");
    assert.ok(first?.startsWith(`${name}/`), `the picture of ${name} is that of ${first}`);
    await until(page, `${name} to go on`, async () => (await picture.getAttribute("data-key")) !== first);
  }
  assert.deepEqual(complaints, []);
  await close();
});

test("a panorama plays as the cameras do", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const cards = page.locator("[data-panorama]");
  const count = (await (await fetch(`${base}/api/v1/panoramas`)).json()).length;
  for (let k = 0; k < count; k += 1) {
    const card = cards.nth(k);
    const picture = card.locator(".picture");
    await until(page, "a picture", async () => (await colours(card.locator("canvas"))) > 8, 90_000);
    const name = await card.getAttribute("data-panorama");
    const first = await picture.getAttribute("data-key");
    assert.ok(first?.startsWith(`${name}/`), `the picture of ${name} is that of ${first}`);
    await until(page, `${name} to go on`, async () => (await picture.getAttribute("data-key")) !== first);
    await card.locator("input[type=checkbox]").check();
    await card.locator("svg.seams polyline").first().waitFor({ state: "attached" });
    await card.scrollIntoViewIfNeeded();
    await shot(page, `panorama-${name}`);
  }
  assert.deepEqual(complaints, []);
  await close();
});

test("a virtual camera is added, plays, is steered, changed and removed", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const section = page.locator("section[aria-labelledby=virtual-cameras]");
  const dialog = page.locator("dialog[open]");
  await section.getByRole("button", { name: "Add a view" }).click();
  await dialog.locator("input[name=name]").fill("Shown by a test");
  await dialog.locator("select[name=size]").selectOption("640x360");
  await dialog.locator("input[name=zoom]").fill("1.5");
  await shot(page, "virtual-camera-add");
  await dialog.locator("button.primary").click();
  await dialog.waitFor({ state: "detached" });
  const card = page.locator("[data-view=shown-by-a-test]");
  await card.waitFor();
  await until(page, "a picture", async () => (await colours(card.locator("canvas"))) > 8, 90_000);
  const looks = card.locator("output");
  await until(page, "where it looks", async () => (await looks.innerText()).endsWith("× 1.5"));
  await card.getByRole("button", { name: "Zoom in" }).click();
  await until(page, "it to zoom", async () => (await looks.innerText()).endsWith("× 2.1"));
  await card.scrollIntoViewIfNeeded();
  await shot(page, "virtual-camera");

  await card.getByRole("button", { name: "Settings" }).click();
  await until(page, "its settings", async () => (await dialog.locator("input[name=zoom]").inputValue()) === "1.5");
  await dialog.locator("input[name=name]").fill("Renamed");
  await dialog.getByRole("button", { name: "Take where it looks now" }).click();
  await shot(page, "virtual-camera-settings");
  await dialog.locator("button.primary").click();
  await dialog.waitFor({ state: "detached" });
  await card.getByRole("heading", { name: "Renamed" }).waitFor();
  await until(page, "it to look there", async () => (await looks.innerText()).endsWith("× 2.1"));

  await card.getByRole("button", { name: "Settings" }).click();
  await until(page, "its settings", async () => (await dialog.locator("input[name=name]").inputValue()) === "Renamed");
  await dialog.getByRole("button", { name: "Remove" }).click();
  await card.waitFor({ state: "detached" });
  assert.deepEqual(complaints, []);
  await close();
});

test("control points are set, moved, kept and removed; a panorama is stopped and started", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const card = page.locator("[data-panorama]").first();
  await card.waitFor();
  const id = await card.getAttribute("data-panorama");
  const kept = () => page.evaluate(async (of) => (await fetch(`/api/v1/panoramas/${of}/control-points`)).json(), id);
  const dialog = page.locator("dialog[open]");
  const openPoints = async () => {
    await card.getByRole("button", { name: "Control points" }).click();
    await until(page, "both pictures", () =>
      dialog.locator(".points img").evaluateAll((images) => images.every((image) => image.naturalWidth > 0)),
    );
  };
  await openPoints();
  const images = dialog.locator(".points img");
  for (const [left, right] of [
    [
      { x: 200, y: 60 },
      { x: 30, y: 60 },
    ],
    [
      { x: 260, y: 140 },
      { x: 90, y: 140 },
    ],
  ]) {
    await images.nth(0).click({ position: left });
    await images.nth(1).click({ position: right });
  }
  assert.equal(await dialog.locator(".mark").count(), 4);
  await dialog.locator(".mark").first().press("Shift+ArrowRight");
  await shot(page, "control-points");
  await dialog.locator("button.primary").click();
  await dialog.waitFor({ state: "detached" });
  const points = await kept();
  assert.equal(points.length, 2);
  assert.ok(points[0].at.flat().every((v) => v > 0 && v < 1));
  await openPoints();
  await dialog.locator(".mark").first().dblclick();
  assert.equal(await dialog.locator(".mark").count(), 2);
  await dialog.getByRole("button", { name: "Remove all" }).click();
  await dialog.locator("button.primary").click();
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual(await kept(), []);

  await card.getByRole("button", { name: "Stop", exact: true }).click();
  await card.locator(".chip.idle").waitFor();
  await shot(page, "panorama-stopped");
  await card.getByRole("button", { name: "Start", exact: true }).click();
  await card.locator(".chip.good").waitFor({ timeout: 60_000 });
  assert.deepEqual(complaints, []);
  await close();
});

test("the sync plot is drawn", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const plot = page.locator("canvas.plot").first();
  await plot.waitFor();
  const members = await page.locator("[data-group]").first().locator("tbody tr").count();
  assert.ok(members >= 1);
  const lines = () =>
    plot.evaluate((canvas) => {
      // Pixels in the colour of the first camera.
      const probe = document.createElement("span");
      probe.style.color = getComputedStyle(canvas).getPropertyValue("--series-0");
      document.body.append(probe);
      const wanted = getComputedStyle(probe).color.match(/\d+/g).map(Number);
      probe.remove();
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        if ([0, 1, 2].every((c) => Math.abs(data[at + c] - wanted[c]) < 40) && data[at + 3] > 150) found += 1;
      }
      return found;
    });
  await until(page, "the line of the first camera", async () => (await lines()) > 60);
  assert.deepEqual(complaints, []);
  await close();
});

test("events appear, open and are filtered", async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const rows = page.locator("[data-event]");
  await until(page, "an event", () => rows.count(), 90_000);
  const image = rows.locator("img").first();
  await until(page, "its picture", () => image.evaluate((img) => img.complete && img.naturalWidth > 0));
  await rows.first().click();
  const dialog = page.locator("dialog[open]");
  await dialog.locator(".facts").waitFor();
  await shot(page, "event");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  const camera = page.locator(".events select").first();
  const values = await camera.locator("option").evaluateAll((options) => options.map((option) => option.value));
  await camera.selectOption(values[1]);
  await until(page, "the filter", async () => {
    // Whose event it is; what happened may stand below.
    const names = new Set(await rows.locator(".what strong + .muted").allTextContents());
    return names.size <= 1;
  });
  assert.deepEqual(complaints, []);
  await close();
});

test("a camera is tested, added and removed", { skip: !process.env.SYNOPTIC_ADD }, async () => {
  const { page, complaints, close } = await open(browser);
  await ready(page);
  const id = `e2e-${Date.now().toString(36)}`;
  await page.locator("section header button.primary").click();
  const form = page.locator("form.add");
  if (process.env.SYNOPTIC_ADD.startsWith("/")) await form.locator("input[name=kind]").nth(2).check({ force: true });
  await form.locator("[name=source]").fill(process.env.SYNOPTIC_ADD);
  await form.locator("[name=name]").fill("Test camera");
  await form.locator("[name=id]").fill(id);
  await form.locator("footer button[type=button]").click();
  await form.locator(".verdict").waitFor({ timeout: 60_000 });
  await shot(page, "add-camera");
  await form.locator("footer button.primary").click();
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  const card = page.locator(`[data-camera="${id}"]`);
  await card.waitFor({ timeout: 30_000 });
  await card.locator(".title button").click();
  await page.locator("dialog[open] button.danger").click();
  await card.waitFor({ state: "detached", timeout: 30_000 });
  await until(page, "the daemon to forget the camera", async () => {
    const cameras = await page.evaluate(async () => (await fetch("/api/v1/cameras")).json());
    return cameras.every((camera) => camera.id !== id);
  });
  assert.deepEqual(complaints, []);
  await close();
});

test("the page speaks Chinese and English", async () => {
  const { page, complaints, close } = await open(browser, { locale: "zh-CN" });
  await ready(page);
  await page.getByRole("heading", { name: "摄像机", exact: true }).waitFor();
  await shot(page, "desktop-zh");
  await page.locator("button.language").click();
  await page.getByRole("heading", { name: "Cameras", exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
  assert.deepEqual(complaints, []);
  await close();
});

for (const [name, options] of Object.entries({
  "desktop-light": {},
  "desktop-dark": { colorScheme: "dark" },
  "phone-light": { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
  "phone-dark": { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, colorScheme: "dark" },
})) {
  test(`nothing sticks out: ${name}`, async () => {
    const { page, complaints, close } = await open(browser, options);
    await ready(page);
    const canvas = page.locator("[data-camera] canvas").first();
    await until(page, "a picture", async () => (await colours(canvas)) > 8);
    const plot = page.locator("canvas.plot").first();
    await plot.scrollIntoViewIfNeeded();
    await until(page, "lines in the plot", async () => (await colours(plot)) > 4);
    await page.evaluate(() => window.scrollTo(0, 0));
    await shot(page, name, true);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} px too wide`);
    assert.deepEqual(complaints, []);
    await close();
  });
}
