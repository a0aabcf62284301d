// In the page: plays a stream, draws the key of the boxes as a second barcode into the same canvas, reads both back after
// every commit, and counts what it finds.

import mpegts from "mpegts.js";
import { Player, Wall } from "synoptic-player";
import { blocks, place, REGION, read } from "./barcode.mjs";

/** Pictures after which the clip repeats: the picture's barcode counts within it. */
const PICTURES = 240;

/** Which picture of the clip has this media time. */
function indexOf(mediaUs, fps) {
  return Math.round(((mediaUs % 86_400_000_000) * fps) / 1e6) % PICTURES;
}

/** Draws a code at the foot of the canvas. */
function drawCode(context, number) {
  const { width, height } = context.canvas;
  const top = height - Math.round(REGION.height * height);
  blocks(number, 1).forEach((line, row) => {
    line.forEach((white, column) => {
      const [x0, y0, x1, y1] = place(column, row, width, height);
      context.fillStyle = white ? "#fff" : "#000";
      context.fillRect(x0, top + y0, x1 - x0, y1 - y0);
    });
  });
}

function readCode(context, top) {
  const { width, height } = context.canvas;
  const [w, h] = [Math.round(REGION.width * width), Math.round(REGION.height * height)];
  const { data } = context.getImageData(0, top, w, h);
  return read((x, y) => data[4 * (y * w + x) + 1], width, height);
}

/** Starts a player and gives what it has found so far at any time. */
export function start({ stream, path, hold = "auto", options = {}, flv = null, readBack = true }) {
  const fps = Number(stream.match(/(?:^|-)f(\d+)/)?.[1] ?? 30);
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const found = {
    commits: 0,
    exact: 0,
    predicted: 0,
    none: 0,
    /** Boxes of another frame than the picture's. */
    wrong: 0,
    /** The key that the player names is not that of the picture. */
    misnamed: 0,
    unreadable: 0,
    backwards: 0,
    latencies: [],
    examples: [],
    states: [],
    problems: [],
    last: null,
  };
  let before = null;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const player = new Player(canvas, {
    stream,
    path,
    hold,
    resolution: "picture",
    flv: flv && { mpegts, url: new URL(`/live/${stream}/${flv.stock ? "stock" : "box"}`, location.href).href, ...flv },
    overlay: (context, view) =>
      drawCode(context, view.boxesKey === null ? -1 : indexOf(Number(view.boxesKey.split("/")[2]), fps)),
    onState: (state, reason) => found.states.push(reason ? `${state}: ${reason}` : state),
    onProblem: (why) => found.problems.push(why),
    onPainted: (view, now) => {
      found.commits += 1;
      if (before && before.epoch === view.key.epoch && view.key.mediaUs < before.mediaUs) found.backwards += 1;
      before = view.key;
      if (view.capture) found.latencies.push(performance.timeOrigin + now - view.capture.utcMs);
      if (!readBack) return;
      const picture = readCode(context, 0);
      const boxes = readCode(context, context.canvas.height - Math.round(REGION.height * context.canvas.height));
      const named = indexOf(view.key.mediaUs, fps);
      if (!picture || !boxes) {
        found.unreadable += 1;
        return;
      }
      if (flv === null && picture.number !== named) found.misnamed += 1;
      if (boxes.number === -1) found[view.boxesAre === "predicted" ? "predicted" : "none"] += 1;
      else {
        found.exact += 1;
        if (boxes.number !== picture.number) {
          found.wrong += 1;
          if (found.examples.length < 10) found.examples.push({ picture: picture.number, boxes: boxes.number, named });
        }
      }
      found.last = picture.number;
    },
    ...options,
  });
  return { player, found, canvas };
}

/** Blocks the main thread again and again, for up to `most` ms. */
export function jam(most) {
  let timer = 0;
  const again = () => {
    const until = performance.now() + Math.random() * most;
    while (performance.now() < until);
    timer = setTimeout(again, 20 + Math.random() * 60);
  };
  again();
  return () => clearTimeout(timer);
}

/** The numbers of the two barcodes in a recorded frame of the screen; null where one cannot be read. */
export async function readShot(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  image.close();
  const picture = readCode(context, 0);
  const boxes = readCode(context, canvas.height - Math.round(REGION.height * canvas.height));
  return { picture: picture?.number ?? null, boxes: boxes?.number ?? null };
}

/** Several streams on one wall; at each refresh of the screen, how far apart the instants shown are, in ms. */
export function startWall(wishes) {
  const wall = new Wall();
  // All in sight: what is out of sight is not played.
  document.body.style.cssText = "display: grid; grid-template-columns: 320px 320px";
  const runs = wishes.map((wish) => start({ ...wish, readBack: false }));
  for (const { player, canvas } of runs) {
    canvas.style.cssText = "width: 320px; height: 180px";
    wall.add(player);
  }
  const spreads = [];
  const look = () => {
    requestAnimationFrame(() => {
      // After the players have painted for this refresh.
      look();
      const times = runs.map(({ player }) => player.shown?.capture?.utcMs);
      if (times.every((time) => time !== undefined)) spreads.push(Math.max(...times) - Math.min(...times));
    });
  };
  look();
  return { wall, runs, spreads };
}

/**
 * A camera of a real daemon whose pictures carry their true capture time as a barcode: each picture against the capture
 * time that the detector's own message has for the boxes drawn on it, and that its key has. Times in ms.
 */
export function startReal({ stream, path }) {
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const found = {
    commits: 0,
    unreadable: 0,
    problems: [],
    // Media time of the key against the true capture time, ms, by epoch: the same for all pictures of one epoch.
    keys: {},
    boxes: {},
    withBoxes: 0,
    // What the box says of the capture time against the true one, ms.
    claimed: [],
    latencies: [],
    path: null,
  };
  const note = (list, epoch, off) => {
    list[epoch] ??= [];
    list[epoch].push(off);
  };
  const player = new Player(canvas, {
    stream,
    path,
    resolution: "picture",
    boxes: false,
    onProblem: (why) => found.problems.push(why),
    onPainted: (view, now) => {
      const code = readCode(context, 0);
      found.commits += 1;
      found.path = player.stats().path;
      if (!code) {
        found.unreadable += 1;
        return;
      }
      const trueMs = code.number / 1000;
      found.latencies.push(performance.timeOrigin + now - trueMs);
      if (view.capture) found.claimed.push(view.capture.utcMs - trueMs);
      note(found.keys, view.key.epoch, view.key.mediaUs / 1000 - trueMs);
      if (view.boxesKey === null) return;
      const [, epoch, mediaUs] = view.boxesKey.split("/").map(Number);
      note(found.boxes, epoch, mediaUs / 1000 - trueMs);
      found.withBoxes += 1;
    },
  });
  return { player, found, canvas };
}

globalThis.probe = {
  startReal,
  startWall,
  readShot,
  start,
  jam,
  readCode,
  indexOf,
};
