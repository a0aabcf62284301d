// What is drawn on a frame: its own boxes, smoothed where asked for; boxes predicted from the neighbouring results where
// the frame has none; the trail of each track. Pure.

import type { Detection, DetectionsMessage } from "./messages.ts";

/** A box in fractions of the picture. */
export interface Box {
  readonly id: number | null;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly confidence: number;
  readonly label: string;
  /** No detector has seen it in this frame: it is where the track should be. */
  readonly predicted: boolean;
}

export interface TrackOptions {
  /** Share of the new box in the smoothed one, 0 to 1; null draws boxes as they were found. */
  smoothing: number | null;
  /** Boxes on frames that have no result of their own. */
  predict: boolean;
  /** Points of a trail; 0 for none. */
  trail: number;
}

/** Share of the new box, as the usual chains have it (facts of the trade; an option). */
export const SMOOTHING = 0.3;
/** A prediction does not reach farther than this from a result, in ms of media time. */
const REACH_MS = 400;
/** A track that was not seen for this long begins anew, in ms of media time. */
const FORGET_MS = 1500;

interface Known {
  box: Box;
  atMs: number;
  trail: [number, number][];
}

export class Tracks {
  private readonly known = new Map<number, Known>();
  private epoch = -1;

  constructor(readonly options: TrackOptions) {}

  /** The boxes of a frame from its own result. Call once for each frame, in the order of showing. */
  exact(message: DetectionsMessage): Box[] {
    this.begin(message.epoch, message.media_us / 1000);
    return boxesOf(message).map((box) => this.remember(box, message.media_us / 1000));
  }

  /** Boxes for a frame without a result, from the results around it; none where prediction is off. */
  predicted(mediaUs: number, before: DetectionsMessage | null, after: DetectionsMessage | null): Box[] {
    if (!this.options.predict || !before) return [];
    const at = mediaUs / 1000;
    const first = before.media_us / 1000;
    if (at - first > REACH_MS) return [];
    const boxes: Box[] = [];
    const later = after && (after.media_us - before.media_us) / 1000 <= REACH_MS ? boxesOf(after) : [];
    for (const box of boxesOf(before)) {
      if (box.id === null) continue;
      const next = later.find((other) => other.id === box.id);
      // What ends here, or leaps, is not carried on; without a later result it stays where it was last seen.
      if (after && later.length > 0 && !next) continue;
      if (next && leaps(box, next)) continue;
      const share = next && after ? (at - first) / (after.media_us / 1000 - first) : 0;
      const placed = next ? between(box, next, share) : this.onward(box, first, at);
      boxes.push({ ...placed, predicted: true });
    }
    return boxes;
  }

  /** Centres of the last boxes of a track, oldest first, in fractions of the picture. */
  trail(id: number | null): readonly [number, number][] {
    return id === null ? [] : (this.known.get(id)?.trail ?? []);
  }

  clear(): void {
    this.known.clear();
  }

  private begin(epoch: number, atMs: number): void {
    if (epoch !== this.epoch) this.known.clear();
    this.epoch = epoch;
    for (const [id, known] of this.known) {
      if (Math.abs(atMs - known.atMs) > FORGET_MS) this.known.delete(id);
    }
  }

  private remember(box: Box, atMs: number): Box {
    if (box.id === null) return box;
    const last = this.known.get(box.id);
    const leapt = last && leaps(last.box, box);
    const { smoothing, trail: length } = this.options;
    const drawn =
      smoothing === null || !last || leapt ? box : { ...between(last.box, box, smoothing), predicted: false };
    const trail = !last || leapt ? [] : last.trail;
    if (length > 0) {
      trail.push([drawn.x + drawn.width / 2, drawn.y + drawn.height]);
      if (trail.length > length) trail.shift();
    }
    this.velocity(box.id, last, drawn, atMs, leapt === true);
    this.known.set(box.id, { box: drawn, atMs, trail });
    return drawn;
  }

  /** Speed of a track's centre in fractions of the picture per ms, from its last two boxes. */
  private readonly speeds = new Map<number, [number, number]>();

  private velocity(id: number, last: Known | undefined, box: Box, atMs: number, leapt: boolean): void {
    if (!last || leapt || atMs <= last.atMs) {
      this.speeds.delete(id);
      return;
    }
    const passed = atMs - last.atMs;
    this.speeds.set(id, [
      (box.x + box.width / 2 - last.box.x - last.box.width / 2) / passed,
      (box.y + box.height / 2 - last.box.y - last.box.height / 2) / passed,
    ]);
    // Bounded by the tracks that live: those gone leave with them.
    if (this.speeds.size > 2 * this.known.size + 16) {
      for (const gone of this.speeds.keys()) if (!this.known.has(gone)) this.speeds.delete(gone);
    }
  }

  private onward(box: Box, seenMs: number, atMs: number): Box {
    const [vx, vy] = (box.id === null ? undefined : this.speeds.get(box.id)) ?? [0, 0];
    return { ...box, x: box.x + vx * (atMs - seenMs), y: box.y + vy * (atMs - seenMs) };
  }
}

/** The boxes of a result in fractions of the picture. */
export function boxesOf(message: DetectionsMessage): Box[] {
  const { width, height } = message;
  if (!(width > 0 && height > 0)) return [];
  return message.detections.map((found: Detection) => ({
    id: found.id,
    x: found.x / width,
    y: found.y / height,
    width: found.width / width,
    height: found.height / height,
    confidence: found.confidence,
    label: found.class,
    predicted: false,
  }));
}

/** Whether a track's box cannot have come from the one before: they do not meet, and lie more than a box apart. */
function leaps(from: Box, to: Box): boolean {
  const dx = Math.abs(to.x + to.width / 2 - from.x - from.width / 2);
  const dy = Math.abs(to.y + to.height / 2 - from.y - from.height / 2);
  const size = (a: number, b: number) => Math.max(a, b, 0.01);
  return dx > 1.5 * size(from.width, to.width) || dy > 1.5 * size(from.height, to.height);
}

function between(from: Box, to: Box, share: number): Box {
  const mix = (a: number, b: number) => a + share * (b - a);
  return {
    ...to,
    x: mix(from.x, to.x),
    y: mix(from.y, to.y),
    width: mix(from.width, to.width),
    height: mix(from.height, to.height),
  };
}
