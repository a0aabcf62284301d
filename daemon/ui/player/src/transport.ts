// What the ways of showing pictures have in common.

import type { StreamMessage } from "./messages.ts";
import type { Capture, Coded, FrameKey } from "./wire.ts";

/** A decoded picture that is due. Whoever takes it closes it. */
export interface Ready {
  readonly key: FrameKey;
  readonly picture: VideoFrame | ImageBitmap;
  readonly capture: Capture | null;
  /** FLV only: the timestamp of the sender, and the one that the player sees, in whole ms. */
  readonly timestampMs?: number;
  readonly playedMs?: number;
}

/** Turns coded pictures into decoded ones at the right time. */
export interface Transport {
  readonly format: "h264" | "fmp4";
  /** The stream as it is from the next picture on. */
  stream(message: StreamMessage): void;
  push(coded: Coded, now: number): void;
  /** The newest picture that is due and was not taken yet; older ones are passed over. */
  take(now: number): Ready | null;
  /** The playout begins anew after a pause: what is held is of no use. */
  reset(): void;
  close(): void;
  readonly counts: TransportCounts;
}

export interface TransportCounts {
  /** Decoded pictures that were never shown as a newer one was due. */
  passed: number;
  /** Coded pictures given up because this machine decodes too slowly. */
  dropped: number;
  /** Times the decoder failed and began anew. */
  failures: number;
}

/** What a transport tells the player. */
export interface TransportHost {
  /** A picture may be ready: ask with `take`. */
  ready(): void;
  /** It cannot go on: the connection is to be made anew, or with `giveUp` another way taken. */
  broken(why: string, giveUp: boolean): void;
}

/** Keys of the pictures that are under way inside a decoder, by the media time that it gives back; bounded. */
export class Underway {
  private readonly byMedia = new Map<number, Coded>();

  /** `most`: pictures that are remembered. */
  constructor(private readonly most: number) {}

  add(coded: Coded): void {
    // Of the picture itself nothing is kept.
    this.byMedia.set(coded.key.mediaUs, { ...coded, data: NOTHING });
    if (this.byMedia.size > this.most) {
      const oldest = this.byMedia.keys().next().value;
      if (oldest !== undefined) this.byMedia.delete(oldest);
    }
  }

  /** undefined: no such picture was ever sent. */
  find(mediaUs: number): Coded | undefined {
    return this.byMedia.get(mediaUs);
  }

  clear(): void {
    this.byMedia.clear();
  }
}

const NOTHING = new Uint8Array();
