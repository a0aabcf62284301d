// In the page: plays a stream of the daemon by hls.js, reads the true capture time off each picture's barcode, and compares it
// with what hls.js makes of the playlist's programme dates.

import Hls from "hls.js";
import { REGION, read } from "./barcode.mjs";

/** UTC in ms of a time of the video element, by the segment that it is in; null where none has a date. */
function dateOf(hls, time) {
  const details = hls.levels[0]?.details;
  const segments = [...(details?.fragments ?? []), details?.fragmentHint].filter(Boolean);
  const segment = segments.findLast((one) => one.start <= time + 1e-6 && one.programDateTime !== null);
  return segment ? segment.programDateTime + (time - segment.start) * 1000 : null;
}

function start({ stream }) {
  const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, playsInline: true });
  const canvas = document.createElement("canvas");
  document.body.append(video);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const found = {
    pictures: 0,
    unreadable: 0,
    undated: 0,
    /** Date by the playlist less true capture time, ms. */
    off: [],
    /** From capture to the page, ms. */
    latencies: [],
    fatal: [],
    errors: [],
  };
  // A worker would be made of a blob, which the box's content security policy does not allow.
  const hls = new Hls({ lowLatencyMode: true, enableWorker: false });
  hls.on(Hls.Events.ERROR, (_, data) => (data.fatal ? found.fatal : found.errors).push(data.details));
  hls.loadSource(`/live/${stream}/index.m3u8`);
  hls.attachMedia(video);
  const look = (now) => {
    video.requestVideoFrameCallback(look);
    // Its own time stamp: the callback's is that of another picture now and then.
    const picture = new VideoFrame(video);
    const { displayWidth: width, displayHeight: height, timestamp } = picture;
    Object.assign(canvas, { width, height });
    context.drawImage(picture, 0, 0);
    picture.close();
    const [w, h] = [Math.round(REGION.width * width), Math.round(REGION.height * height)];
    const { data } = context.getImageData(0, 0, w, h);
    const code = read((x, y) => data[4 * (y * w + x) + 1], width, height);
    found.pictures += 1;
    if (!code) {
      found.unreadable += 1;
      return;
    }
    const date = dateOf(hls, timestamp / 1e6);
    if (date === null) {
      found.undated += 1;
      return;
    }
    found.off.push(date - code.number / 1000);
    found.latencies.push(performance.timeOrigin + now - code.number / 1000);
  };
  video.requestVideoFrameCallback(look);
  return { found, hls };
}

globalThis.hlsProbe = { start };
