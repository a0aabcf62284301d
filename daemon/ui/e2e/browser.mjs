// A browser for the tests of the page: Chromium as installed, offline but for the box.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** The daemon under test, such as http://127.0.0.1:8480 */
export const base = process.env.SYNOPTIC_URL?.replace(/\/$/, "");
const shots = process.env.SYNOPTIC_SHOTS;

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A fresh page. Whatever the console or the page complains about is collected in `complaints`. */
export async function open(browser, options = {}, prepare = async () => {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    locale: "en-GB",
    colorScheme: "light",
    ignoreHTTPSErrors: true,
    ...options,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // The tests themselves read canvases back.
    if (message.text().includes("willReadFrequently")) return;
    if (message.type() === "error" || message.type() === "warning")
      complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await prepare(page);
  await page.goto(`${base}/`);
  return { page, complaints, close: () => context.close() };
}

export async function shot(page, name, fullPage = false) {
  if (!shots) return;
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage });
}

/** How many clearly different colours a canvas shows: 1 for an empty one. */
export function colours(canvas) {
  return canvas.evaluate((element) => {
    const { width, height } = element;
    if (!width || !height) return 0;
    const { data } = element.getContext("2d").getImageData(0, 0, width, height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4 * 37) {
      seen.add(`${data[at] >> 4}.${data[at + 1] >> 4}.${data[at + 2] >> 4}.${data[at + 3] >> 6}`);
    }
    return seen.size;
  });
}

/** Waits until `check` gives something true, and gives it back. */
export async function until(page, what, check, patience = 30_000) {
  const step = 200;
  for (let waited = 0; waited < patience; waited += step) {
    const found = await check();
    if (found) return found;
    await page.waitForTimeout(step);
  }
  throw new Error(`waited ${patience / 1000} s in vain for: ${what}`);
}
