// The live picture of a camera or a panorama: fetches it as fast as the last one came, and draws it with the boxes of that very frame.

import type { DetectionDoc, FrameDoc } from "./documents";

/** At most eight pictures a second. */
const GAP_MS = 125;
/** Wait after a failure. */
const PAUSE_MS = 1500;
const PATIENCE_MS = 10_000;

export interface Shown {
  frame: FrameDoc | null;
}

/** What is being followed, by camera. */
const following = new Map<string, Set<() => void>>();

/** Ends whatever follows this camera at once, requests under way included: it is about to go. */
export function unfollow(camera: string): void {
  for (const end of [...(following.get(camera) ?? [])]) end();
}

/** Runs until the returned function is called. */
export function follow(
  camera: string,
  canvas: HTMLCanvasElement,
  name: (label: string) => string,
  onFrame: (shown: Shown) => void,
  kind: "cameras" | "panoramas" = "cameras",
): () => void {
  const stop = new AbortController();
  let visible = true;
  let wake: (() => void) | null = null;
  const watcher = new IntersectionObserver((entries) => {
    visible = entries.at(-1)?.isIntersecting ?? true;
    wake?.();
  });
  watcher.observe(canvas);
  const stir = () => wake?.();
  document.addEventListener("visibilitychange", stir);
  stop.signal.addEventListener("abort", stir);

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      function done() {
        clearTimeout(timer);
        stop.signal.removeEventListener("abort", done);
        resolve();
      }
      stop.signal.addEventListener("abort", done);
    });
  const shown = () =>
    new Promise<void>((resolve) => {
      const check = () => {
        if (stop.signal.aborted || (visible && !document.hidden)) {
          wake = null;
          resolve();
        }
      };
      wake = check;
      check();
    });

  async function once(tag: string): Promise<string> {
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE_MS)]);
    const headers: HeadersInit = tag ? { "if-none-match": tag } : {};
    const response = await fetch(`/api/v1/${kind}/${camera}/picture`, { signal, headers, cache: "no-store" });
    if (response.status === 304) return tag;
    // 204: the camera has no picture yet; asked again after the pause, as after a failure.
    if (response.status !== 200) throw new Error(`${response.status}`);
    const frame: FrameDoc = JSON.parse(response.headers.get("synoptic-frame") ?? "null");
    const bitmap = await createImageBitmap(await response.blob());
    if (!stop.signal.aborted) {
      draw(canvas, bitmap, frame.detections ?? [], name);
      onFrame({ frame });
    }
    bitmap.close();
    return response.headers.get("etag") ?? "";
  }

  async function run(): Promise<void> {
    let tag = "";
    while (!stop.signal.aborted) {
      await shown();
      const began = performance.now();
      try {
        tag = await once(tag);
        await pause(Math.max(0, GAP_MS - (performance.now() - began)));
      } catch {
        if (stop.signal.aborted) break;
        tag = "";
        await pause(PAUSE_MS);
      }
    }
  }
  const ends = following.get(camera) ?? new Set();
  following.set(camera, ends);
  const end = () => {
    stop.abort();
    watcher.disconnect();
    document.removeEventListener("visibilitychange", stir);
    ends.delete(end);
    if (ends.size === 0 && following.get(camera) === ends) following.delete(camera);
  };
  ends.add(end);
  void run();
  return end;
}

function draw(
  canvas: HTMLCanvasElement,
  picture: ImageBitmap,
  detections: readonly DetectionDoc[],
  name: (label: string) => string,
): void {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round((width * picture.height) / picture.width));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  if (!context) return;
  context.drawImage(picture, 0, 0, width, height);
  const style = getComputedStyle(canvas);
  const colour = style.getPropertyValue("--box").trim() || "#35d0ba";
  context.lineWidth = 2 * ratio;
  context.font = `600 ${11 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const { bbox, label, score, track } of detections) {
    const [x, y, w, h] = [bbox[0] * width, bbox[1] * height, bbox[2] * width, bbox[3] * height];
    context.strokeStyle = colour;
    context.beginPath();
    context.roundRect(x, y, w, h, 4 * ratio);
    context.stroke();
    const text = `${name(label)}${track === null ? "" : ` ${track}`} · ${Math.round(score * 100)}%`;
    const tall = 18 * ratio;
    const wide = context.measureText(text).width + 10 * ratio;
    const left = Math.max(0, Math.min(x - ratio, width - wide));
    const top = y >= tall + 2 * ratio ? y - tall - ratio : y + ratio;
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(left, top, wide, tall, 4 * ratio);
    context.fill();
    context.fillStyle = "#06201d";
    context.fillText(text, left + 5 * ratio, top + tall / 2 + 0.5 * ratio);
  }
}
