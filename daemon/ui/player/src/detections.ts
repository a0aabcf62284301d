// Results of the detector by the exact key of their frame. A result of a neighbouring frame is never taken for it. Pure.

import type { DetectionsMessage } from "./messages.ts";
import { type FrameKey, keyText } from "./wire.ts";

/** Frames that are remembered: 20 s at 30 fps, above any hold. */
const KEPT = 600;
/** A result that has not come this long after its frame was shown never will, in ms. */
const NEVER_MS = 5000;

export interface Counts {
  /** Frames shown with their own result. */
  exact: number;
  /** Frames shown that the detector passed over. */
  skipped: number;
  /** Frames shown before their result came. */
  late: number;
  /** Frames shown whose result has not come for 5 s. */
  never: number;
  /** Messages that the box left out because this reader was too slow. */
  lost: number;
}

export type Found =
  | { state: "exact"; message: DetectionsMessage }
  /** The detector will never look at it. */
  | { state: "skipped" }
  /** Nothing is known yet. */
  | { state: "pending" };

const SKIPPED: Found = { state: "skipped" };
const PENDING: Found = { state: "pending" };

export class Detections {
  /** In order of arrival, which a Map keeps. */
  private readonly byKey = new Map<string, Found>();
  /** Shown without a result, and when. */
  private readonly awaited = new Map<string, number>();
  readonly counts: Counts = { exact: 0, skipped: 0, late: 0, never: 0, lost: 0 };

  add(message: DetectionsMessage): void {
    this.put(message.key, { state: "exact", message });
  }

  skip(keys: readonly string[]): void {
    for (const key of keys) if (!this.byKey.has(key)) this.put(key, SKIPPED);
  }

  lose(count: number): void {
    this.counts.lost += count;
  }

  find(key: FrameKey): Found {
    return this.byKey.get(keyText(key)) ?? PENDING;
  }

  /** The media time in us of the frame of this epoch and timestamp (whole ms); null when nothing is known of it. */
  stamped(epoch: number, timestampMs: number): number | null {
    for (const key of this.byKey.keys()) {
      const [, its, mediaUs] = key.split("/").map(Number);
      if (its === epoch && mediaUs !== undefined && Math.floor(mediaUs / 1000) % 2 ** 32 === timestampMs)
        return mediaUs;
    }
    return null;
  }

  /** A frame goes on the screen with what is known of it now. Call once for each. */
  shown(key: FrameKey, now: number): Found {
    const found = this.find(key);
    if (found.state === "exact") this.counts.exact += 1;
    else if (found.state === "skipped") this.counts.skipped += 1;
    else this.awaited.set(keyText(key), now);
    for (const [name, at] of this.awaited) {
      if (now - at < NEVER_MS) break;
      this.awaited.delete(name);
      this.counts.never += 1;
    }
    return found;
  }

  /** The results nearest to a frame in media time, of the same epoch, for prediction only; not its own. */
  around(key: FrameKey): { before: DetectionsMessage | null; after: DetectionsMessage | null } {
    let before: DetectionsMessage | null = null;
    let after: DetectionsMessage | null = null;
    for (const found of this.byKey.values()) {
      if (found.state !== "exact" || found.message.epoch !== key.epoch) continue;
      const at = found.message.media_us;
      if (at < key.mediaUs && (!before || at > before.media_us)) before = found.message;
      if (at > key.mediaUs && (!after || at < after.media_us)) after = found.message;
    }
    return { before, after };
  }

  /** Frames waited for at this moment. */
  get waiting(): number {
    return this.awaited.size;
  }

  clear(): void {
    this.byKey.clear();
    this.awaited.clear();
  }

  private put(key: string, found: Found): void {
    if (this.awaited.delete(key)) {
      if (found.state === "skipped") this.counts.skipped += 1;
      else this.counts.late += 1;
    }
    this.byKey.set(key, found);
    if (this.byKey.size > KEPT) {
      const oldest = this.byKey.keys().next().value;
      if (oldest !== undefined) this.byKey.delete(oldest);
    }
  }
}
