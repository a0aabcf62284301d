// One case of the overlay: a stream, a way of showing it, a main thread idle or jammed; what was found on the canvas.

import { chromium } from "playwright-core";

/** A name that is not loopback, so that the page has no secure context. */
export const INSECURE = "box.test";

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`,
    ],
  });
}

/** A page of the box. `host`: by what name it is asked for. */
export async function openPage(browser, box, host = "127.0.0.1") {
  const context = await browser.newContext({ viewport: { width: 800, height: 600 } });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(`http://${host}:${box.port}/`);
  await page.waitForFunction(() => globalThis.probe !== undefined);
  return { page, complaints, close: () => context.close() };
}

/** Waits until the page says yes. */
export async function until(page, what, check, argument, patienceMs = 20_000) {
  try {
    return await page.waitForFunction(check, argument, { timeout: patienceMs, polling: 50 });
  } catch (error) {
    const found = await page.evaluate(() => ({
      ...globalThis.run?.found,
      latencies: undefined,
      stats: globalThis.run?.player.stats(),
    }));
    throw new Error(`waited in vain for ${what}: ${JSON.stringify(found)}`, { cause: error });
  }
}

/** Plays until `commits` canvases were read back after the start has settled; what was found in them. */
export async function measure(
  browser,
  box,
  { stream, path, hold = "auto", jamMs = 0, commits, host, flv, settleMs = 1500 },
) {
  const opened = await openPage(browser, box, host);
  const { page, complaints } = opened;
  try {
    await page.evaluate(
      ({ stream, path, hold, jamMs, flv }) => {
        globalThis.run = globalThis.probe.start({ stream, path, hold, flv });
        if (jamMs > 0) globalThis.probe.jam(jamMs);
      },
      { stream, path, hold, jamMs, flv },
    );
    await until(page, `a picture of ${stream} by ${path}`, () => globalThis.run.found.commits > 0);
    await page.waitForTimeout(settleMs);
    // From here on; what was wrong before stays counted.
    const began = await page.evaluate(() => {
      const { found } = globalThis.run;
      found.latencies = [];
      return { commits: found.commits, exact: found.exact, none: found.none, at: performance.now() };
    });
    const patience = 15_000 + (commits / 10) * 1000;
    await until(
      page,
      `${commits} canvases`,
      (most) => globalThis.run.found.commits >= most,
      began.commits + commits,
      patience,
    );
    const { found, stats, at } = await page.evaluate(() => ({
      found: globalThis.run.found,
      stats: globalThis.run.player.stats(),
      at: performance.now(),
    }));
    await page.evaluate(() => globalThis.run.player.close());
    const sorted = found.latencies.sort((a, b) => a - b);
    const quantile = (q) => sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];
    return {
      ...found,
      latencies: undefined,
      settled: {
        commits: found.commits - began.commits,
        exact: found.exact - began.exact,
        none: found.none - began.none,
        perSecond: ((found.commits - began.commits) * 1000) / (at - began.at),
      },
      latency: { p50: quantile(0.5), p95: quantile(0.95) },
      stats,
      complaints,
    };
  } finally {
    await opened.close();
  }
}

/** Four streams of different lateness on one wall: quantiles of how far apart the instants on the screen are, in ms. */
export async function measureWall(browser, box, wishes, { seconds, settleMs = 6000 }) {
  const { page, close } = await openPage(browser, box);
  try {
    await page.evaluate((wishes) => {
      globalThis.run = globalThis.probe.startWall(wishes);
    }, wishes);
    await until(page, "all streams", () => globalThis.run.spreads.length > 0);
    await page.waitForTimeout(settleMs);
    await page.evaluate(() => {
      globalThis.run.spreads.length = 0;
    });
    await page.waitForTimeout(seconds * 1000);
    const { spreads, stats, lag, error } = await page.evaluate(() => ({
      spreads: globalThis.run.spreads,
      stats: globalThis.run.runs.map(({ player }) => player.stats()),
      lag: globalThis.run.wall.lagMs,
      error: globalThis.run.wall.errorMs,
    }));
    const sorted = spreads.sort((a, b) => a - b);
    const quantile = (q) => sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];
    return { samples: sorted.length, p50: quantile(0.5), p95: quantile(0.95), max: sorted.at(-1), lag, error, stats };
  } finally {
    await close();
  }
}
