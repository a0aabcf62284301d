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

test("an empty box says what to do, and a lost connection is seen", async () => {
  const { page, close } = await open(browser, {}, async (page) => {
    await page.route("**/api/v1/events?*", (route) => route.fulfill({ json: { events: [], next: null } }));
    // The stream is cut after its first status, as when the daemon stops.
    let served = false;
    await page.route("**/api/v1/live", async (route) => {
      if (served) return route.abort();
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
  await page.unroute("**/api/v1/live");
  await page.locator(".banner button").click();
  await page.locator(".banner").waitFor({ state: "detached" });
  await page.locator("[data-camera]").first().waitFor();
  await close();
});
