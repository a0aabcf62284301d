// Screens that a daemon at work does not show: first start, sign-in, nothing there yet, connection lost. The
// answers that lead to them are made up here; everything else is the real daemon's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, launch, open, shot } from "./browser.mjs";

let browser;
before(async () => {
  assert.ok(base, "set SYNOPTIC_URL to the address of a running daemon");
  browser = await launch();
});
after(() => browser?.close());

const session = (page, doc) =>
  page.route("**/api/v1/session", (route) =>
    route.request().method() === "GET" ? route.fulfill({ json: doc }) : route.fallback(),
  );

test("the first start asks for a password, twice", async () => {
  const { page, complaints, close } = await open(browser, {}, (page) =>
    session(page, { needed: true, set_up: false, signed_in: false }),
  );
  await page.locator("input[name=password]").fill("short");
  await page.locator("input[name=repeat]").fill("short");
  await page.locator("button[type=submit]").click();
  await page.getByRole("alert").filter({ hasText: "10" }).waitFor();
  await page.locator("input[name=password]").fill("correct horse");
  await page.locator("button[type=submit]").click();
  await page.getByRole("alert").filter({ hasText: "differ" }).waitFor();
  await shot(page, "first-start");
  assert.deepEqual(complaints, []);
  await close();
});

test("a wrong password is said to be wrong", async () => {
  const { page, close } = await open(browser, { colorScheme: "dark" }, async (page) => {
    await session(page, { needed: true, set_up: true, signed_in: false });
    const problem = { type: "about:blank", title: "Forbidden", status: 403, detail: "the password is wrong" };
    await page.route("**/api/v1/session", (route) =>
      route.request().method() === "POST" ? route.fulfill({ status: 403, json: problem }) : route.fallback(),
    );
  });
  assert.equal(await page.locator("input[name=repeat]").count(), 0);
  await page.locator("input[name=password]").fill("wrong horse");
  await page.locator("button[type=submit]").click();
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await shot(page, "sign-in");
  await close();
});

for (const [locale, width] of [
  ["en-GB", 390],
  ["zh-CN", 320],
  ["en-GB", 1100],
]) {
  test(`long names and numbers stay inside: ${locale}, ${width} px`, async () => {
    const long = "A-name-without-a-blank-that-somebody-thought-would-be-helpful-some-day";
    const device = { viewport: { width, height: 800 }, locale };
    const { page, close } = await open(browser, device, async (page) => {
      const status = await (await fetch(`${base}/api/v1/status`)).json();
      status.device.name = long;
      status.device.model = long;
      status.mqtt = { ...status.mqtt, state: "connecting", outbox: 123_456 };
      for (const camera of status.cameras) {
        camera.name = long;
        camera.status = { ...camera.status, state: "auth_failed", reason: `rtsp://192.0.2.1/${long}: 401` };
        camera.time = { ...camera.time, source: "sender_report", offset_ms: -7_200_000, uncertainty_ms: 12_345 };
        camera.drops = { late: 123_456_789 };
      }
      for (const group of status.groups) {
        group.group = long;
        for (const member of group.members) Object.assign(member, { status: "read_error", offset_ms: -7_200_000 });
      }
      await page.route("**/api/v1/live", (route) =>
        route.fulfill({
          contentType: "text/event-stream",
          body: `event: status\ndata: ${JSON.stringify(status)}\n\n`,
        }),
      );
      // What goes wrong is told with the words of the daemon, which may be long as well.
      const problem = { type: "about:blank", title: "", status: 500, detail: `${long}${long}` };
      await page.route("**/api/v1/events?*", (route) => route.fulfill({ status: 500, json: problem }));
    });
    await page.locator("[data-camera]").first().waitFor();
    await page.locator(".toast").waitFor();
    await shot(page, `long-${locale}-${width}`, true);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} px too wide`);
    await close();
  });
}

test("an empty box says what to do, and a lost connection is seen", async () => {
  const { page, close } = await open(browser, {}, async (page) => {
    await page.route("**/api/v1/events?*", (route) => route.fulfill({ json: { events: [], next: null } }));
    // The stream is cut after its first status, as when the daemon stops.
    let served = false;
    await page.route("**/api/v1/live", async (route) => {
      // It comes back for who presses the button: the page's own attempts would take the button away before that.
      if (served) return (await page.evaluate(() => window.pressed)) ? route.continue() : route.abort();
      served = true;
      const status = await (await fetch(`${base}/api/v1/status`)).json();
      const empty = { ...status, cameras: [], groups: [] };
      const body = `event: status\ndata: ${JSON.stringify(empty)}\n\n`;
      return route.fulfill({ contentType: "text/event-stream", body });
    });
  });
  await page.locator(".empty").nth(2).waitFor();
  await page.locator(".banner").waitFor();
  await shot(page, "empty-and-lost");
  await page.evaluate(() =>
    document.addEventListener(
      "click",
      () => {
        window.pressed = true;
      },
      true,
    ),
  );
  await page.locator(".banner button").click();
  await page.locator(".banner").waitFor({ state: "detached" });
  await page.locator("[data-camera]").first().waitFor();
  await close();
});
