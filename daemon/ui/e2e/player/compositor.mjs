// What the browser's compositor puts on the screen, frame by frame: a recording of the page whose barcodes are read by
// another page.

import { openPage, until } from "./measure.mjs";

/** Records until `wanted` frames were read; how many show boxes of another picture than theirs. */
export async function measureCompositor(browser, box, { stream, path, flv, host, jamMs = 0, wanted, patienceMs }) {
  const shown = await openPage(browser, box, host);
  const reader = await openPage(browser, box);
  const found = { frames: 0, exact: 0, without: 0, wrong: 0, unreadable: 0 };
  try {
    await shown.page.setViewportSize({ width: 640, height: 360 });
    await shown.page.evaluate(
      ({ stream, path, flv, jamMs }) => {
        globalThis.run = globalThis.probe.start({ stream, path, flv, readBack: false });
        if (jamMs > 0) globalThis.probe.jam(jamMs);
      },
      { stream, path, flv, jamMs },
    );
    await until(shown.page, "pictures", () => globalThis.run.found.commits > 30);
    const cdp = await shown.page.context().newCDPSession(shown.page);
    const pending = new Set();
    let enough;
    const done = new Promise((resolve, reject) => {
      enough = resolve;
      setTimeout(
        () => reject(new Error(`${found.frames} of ${wanted} compositor frames of ${path} came in time`)),
        patienceMs,
      ).unref();
    });
    cdp.on("Page.screencastFrame", ({ data, sessionId }) => {
      cdp.send("Page.screencastFrameAck", { sessionId }).catch(() => {});
      if (pending.size > 8) return;
      const read = reader.page
        .evaluate((data) => globalThis.probe.readShot(data), data)
        .then(({ picture, boxes }) => {
          found.frames += 1;
          if (picture === null || boxes === null) found.unreadable += 1;
          else if (boxes === -1) found.without += 1;
          else if (boxes === picture) found.exact += 1;
          else found.wrong += 1;
          if (found.frames >= wanted) enough();
        })
        .finally(() => pending.delete(read));
      pending.add(read);
    });
    await cdp.send("Page.startScreencast", { format: "jpeg", quality: 70, everyNthFrame: 1 });
    await done;
    await cdp.send("Page.stopScreencast");
    await Promise.allSettled(pending);
    return found;
  } finally {
    await shown.close();
    await reader.close();
  }
}
