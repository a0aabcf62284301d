// A clip of H.264 access units made by ffmpeg: each picture carries its index as a barcode and a square that goes around.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { blocks, place } from "./barcode.mjs";

export const WIDTH = 640;
export const HEIGHT = 360;
/** Pictures of a clip: it repeats after them. */
export const PICTURES = 240;
/** Pictures from one key picture to the next. */
export const GOP = 30;

/** Where the square is in picture `n`: left, top, side, in pixels. */
export function square(n) {
  const angle = (2 * Math.PI * n) / PICTURES;
  const [x, y] = [320 + 220 * Math.cos(angle) - 30, 190 + 110 * Math.sin(angle) - 30];
  return { x: 2 * Math.round(x / 2), y: 2 * Math.round(y / 2), side: 60 };
}

function paint(n, camera) {
  const luma = Buffer.alloc(WIDTH * HEIGHT);
  for (let y = 0; y < HEIGHT; y += 1) luma.fill(60 + (y >> 2), y * WIDTH, (y + 1) * WIDTH);
  const fill = (x0, y0, x1, y1, value) => {
    for (let y = y0; y < y1; y += 1) luma.fill(value, y * WIDTH + x0, y * WIDTH + x1);
  };
  const { x, y, side } = square(n);
  fill(x, y, x + side, y + side, 200);
  blocks(n, camera).forEach((line, row) => {
    line.forEach((white, column) => {
      fill(...place(column, row, WIDTH, HEIGHT), white ? 235 : 16);
    });
  });
  return Buffer.concat([luma, Buffer.alloc((WIDTH * HEIGHT) / 2, 128)]);
}

/** The access units of a clip, in order: `{ key, data }` with Annex B data. */
export async function makeClip(camera = 0) {
  const ffmpeg = spawn(
    process.env.FFMPEG ?? "ffmpeg",
    [
      ...["-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", `${WIDTH}x${HEIGHT}`, "-r", "30"],
      ...["-i", "pipe:0", "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "high"],
      ...["-x264-params", `aud=1:keyint=${GOP}:min-keyint=${GOP}:scenecut=0:sliced-threads=0:repeat-headers=1`],
      ...["-f", "h264", "pipe:1"],
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const chunks = [];
  ffmpeg.stdout.on("data", (chunk) => chunks.push(chunk));
  const ended = once(ffmpeg, "close");
  for (let n = 0; n < PICTURES; n += 1) {
    if (!ffmpeg.stdin.write(paint(n, camera))) await once(ffmpeg.stdin, "drain");
  }
  ffmpeg.stdin.end();
  const [code] = await ended;
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
  const units = accessUnits(Buffer.concat(chunks));
  if (units.length !== PICTURES) throw new Error(`${units.length} access units for ${PICTURES} pictures`);
  return units;
}

/** Start and end of every NAL unit, without start codes. */
export function nalUnits(data) {
  const starts = [];
  for (let at = data.indexOf("000001", 0, "hex"); at >= 0; at = data.indexOf("000001", at + 3, "hex")) starts.push(at);
  return starts.map((start, i) => {
    let end = starts[i + 1] ?? data.length;
    while (end > start + 3 && data[end - 1] === 0) end -= 1;
    return data.subarray(start + 3, end);
  });
}

function accessUnits(data) {
  const units = [];
  for (const nal of nalUnits(data)) {
    const type = nal[0] & 31;
    if (type === 9) units.push([]);
    units.at(-1).push(nal);
  }
  return units.map((nals) => ({
    nals,
    key: nals.some((nal) => (nal[0] & 31) === 5),
    data: Buffer.concat(nals.flatMap((nal) => [Buffer.from([0, 0, 0, 1]), nal])),
  }));
}
