// The card of the box's system in every state. All answers are made up: no daemon can be had in each of them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, launch, open, shot, until } from "./browser.mjs";

let browser;
before(async () => {
  assert.ok(base, "set SYNOPTIC_URL to the address of a page");
  browser = await launch();
});
after(() => browser?.close());

const status = {
  device: { schema: 1, id: "b", name: "Gate 1", version: "1.0.0", boot_id: "", model: null, cameras: [], groups: [] },
  status: { state: "online", since: null },
  utc: "2026-11-21T10:00:00.000000Z",
  uptime_s: 5,
  clock: { synchronised: true, error_ms: 1 },
  cameras: [],
  groups: [],
  panoramas: [],
  detectors: [],
  gpus: [],
  mqtt: { state: "off", broker: null, error: null, outbox: 0 },
  storage: { state: "okay", bytes: 1, max_bytes: 2, free_bytes: 3, min_free_bytes: 0, waiting: 0, error: null },
  restart_needed: [],
};
const slots = [
  { name: "rootfs.0", bootname: "A", booted: true, good: true, version: null },
  { name: "rootfs.1", bootname: "B", booted: false, good: false, version: "1.1.0" },
];
const idle = {
  unavailable: null,
  version: "1.0.0",
  compatible: "synoptic-virtual-x86-64",
  slot: "A",
  slots,
  floor: "1.0.0",
  job: 0,
  state: "idle",
  since: null,
  stage: null,
  reason: null,
  note: null,
  source: null,
  new_version: null,
  bytes: null,
  total_bytes: null,
  percent: null,
  rollback_reason: null,
  files: [{ path: "/run/media/stick/box-1.2.0.raucb", bytes: 98_000_000 }],
};
const since = "2026-11-21T09:58:00.000000Z";
const source = "https://updates.example/box-1.2.0.raucb";

/** A page whose box says `now.doc` of its updates. */
async function box(now, options) {
  return open(browser, options, async (page) => {
    await page.route("**/api/v1/session", (route) =>
      route.fulfill({ json: { needed: false, set_up: true, signed_in: true } }),
    );
    await page.route("**/api/v1/events?*", (route) => route.fulfill({ json: { events: [], next: null } }));
    const body = `event: status\ndata: ${JSON.stringify(status)}\n\n`;
    await page.route("**/api/v1/live", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await page.route("**/api/v1/update", (route) => {
      now.asked?.push([route.request().method(), route.request().postData()]);
      return route.request().method() === "GET" ? route.fulfill({ json: now.doc }) : route.fulfill({ status: 202 });
    });
  });
}

const states = {
  idle,
  downloading: { ...idle, state: "downloading", job: 1, since, source, bytes: 40_000_000, total_bytes: 98_000_000 },
  installing: { ...idle, state: "installing", job: 1, since, source, percent: 40, new_version: "1.2.0" },
  reboot_pending: { ...idle, state: "reboot_pending", job: 1, since, source, new_version: "1.2.0" },
  failed: { ...idle, state: "failed", job: 1, since, source, stage: "preflight", reason: "version 0.9.0 is older" },
  rolled_back: {
    ...idle,
    state: "rolled_back",
    job: 1,
    since,
    source,
    reason: "the page does not answer (HTTP 503)",
    rollback_reason: "the page does not answer (HTTP 503)",
  },
  unavailable: { ...idle, slots: [], slot: null, compatible: null, unavailable: "there is no system bus" },
};

for (const [name, doc] of Object.entries(states)) {
  for (const [locale, colorScheme] of [
    ["en-GB", "light"],
    ["zh-CN", "dark"],
  ]) {
    test(`the system's card: ${name}, ${locale}`, async () => {
      const { page, complaints, close } = await box({ doc }, { locale, colorScheme });
      const card = page.locator(`[data-update=${doc.state}]`);
      await card.waitFor();
      await card.scrollIntoViewIfNeeded();
      await shot(page, `update-${name}-${locale}`);
      if (name === "rolled_back") {
        const told = await card.getByRole("alert").textContent();
        assert.match(told, locale === "en-GB" ? /Its page did not answer/ : /它的网页没有响应/);
        assert.match(told, /HTTP 503/);
      }
      if (name === "downloading") assert.match(await card.textContent(), /40 MB \/ 98 MB/);
      if (name === "unavailable") assert.equal(await card.locator("button").count(), 0);
      // The stream of made-up answers ends, which the page counts as a lost connection.
      assert.deepEqual(
        complaints.filter((c) => !c.includes("/api/v1/live")),
        [],
      );
      await close();
    });
  }
}

test("a file, a stick and an address", async () => {
  const now = { doc: idle, asked: [] };
  const { page, close } = await box(now, { viewport: { width: 390, height: 800 } });
  const sent = [];
  await page.route("**/api/v1/update?*", async (route) => {
    sent.push([new URL(route.request().url()).searchParams, route.request().headers()["content-type"]]);
    await route.fulfill({ status: 422, json: { status: 422, detail: "the sender is silent" } });
  });
  const begin = page.locator(".update footer button").first();
  await begin.click();
  const form = page.locator(".update-form");
  assert.ok(await form.locator("button[type=submit]").isDisabled());
  await form.locator("input[type=file]").setInputFiles({ name: "box.raucb", mimeType: "", buffer: Buffer.alloc(3e6) });
  await shot(page, "update-form");
  await form.locator("button[type=submit]").click();
  await form.getByRole("alert").filter({ hasText: "silent" }).waitFor();
  assert.equal(sent[0][1], "application/octet-stream");
  assert.deepEqual([sent[0][0].get("name"), sent[0][0].get("reboot")], ["box.raucb", "true"]);
  await page.keyboard.press("Escape");
  await begin.click();
  await form.locator("select").selectOption({ index: 1 });
  await form.locator("button[type=submit]").click();
  const asked = () => now.asked.find(([method]) => method === "POST")?.[1];
  const body = JSON.parse(await until(page, "the wish", asked));
  assert.deepEqual(body, { file: idle.files[0].path, reboot: true, allow_downgrade: false, force: false });
  await form.waitFor({ state: "detached" });
  await close();
});
