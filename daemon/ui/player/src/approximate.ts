// The matching that pages on stock FLV servers do: the nearest result within a tolerance, or the same frame number. It can
// be wrong by what the time bases are apart, which is why a player that uses it says so. Pure.

import type { DetectionsMessage } from "./messages.ts";

export interface ApproximateOptions {
  /** What is added to the time that the player sees to get the sender's timestamp, in ms: the stream's start. */
  startOffsetMs: number;
  /** A result farther away than this is not taken, in ms. */
  toleranceMs: number;
  /** Results that are kept. */
  most: number;
}

export const APPROXIMATE: ApproximateOptions = { startOffsetMs: 0, toleranceMs: 100, most: 100 };

export class ApproximateBuffer {
  /** By timestamp, ascending. */
  private readonly sorted: DetectionsMessage[] = [];

  constructor(readonly options: ApproximateOptions) {}

  add(message: DetectionsMessage): void {
    const { sorted } = this;
    let at = sorted.length;
    while (at > 0 && (sorted[at - 1]?.timestamp ?? 0) > message.timestamp) at -= 1;
    if (sorted[at - 1]?.timestamp === message.timestamp) sorted[at - 1] = message;
    else sorted.splice(at, 0, message);
    if (sorted.length > this.options.most) sorted.shift();
  }

  /** The nearest result to a time of the player in ms, within the tolerance. */
  nearest(playedMs: number): DetectionsMessage | null {
    const wanted = playedMs + this.options.startOffsetMs;
    let best: DetectionsMessage | null = null;
    for (const message of this.sorted) {
      if (!best || Math.abs(message.timestamp - wanted) < Math.abs(best.timestamp - wanted)) best = message;
    }
    return best && Math.abs(best.timestamp - wanted) <= this.options.toleranceMs ? best : null;
  }

  /** The result of the frame of this number. */
  numbered(frame: number): DetectionsMessage | null {
    return this.sorted.find((message) => message.frame_id === frame) ?? null;
  }

  get length(): number {
    return this.sorted.length;
  }
}
