// Where pictures come from: a socket with a decoder behind it, single pictures, an FLV stream.

import type { Detections, Found } from "./detections.ts";
import type { DetectionsMessage } from "./messages.ts";
import type { State } from "./session.ts";
import type { Ready } from "./transport.ts";
import type { Coded } from "./wire.ts";

export interface Source {
  /** The name of the way, for people: `webcodecs`, `mse`, `webrtc`, `pictures`, `flv`, `flv (approximate)`. */
  readonly path: string;
  start(): void;
  /** Somebody looks, or nobody does. */
  visible(yes: boolean): void;
  pause(yes: boolean): void;
  take(now: number): Ready | null;
  /** Where keys do not come with the pictures: what is known of one, and its key where that tells. */
  match?(ready: Ready, store: Detections): { found: Found; ready: Ready; approximate: boolean };
  /** A result arrived; gives the time of its frame in ms as this source counts media time. */
  result?(message: DetectionsMessage): number;
  close(): void;
  /** What went by: passed over, dropped, failures, reconnects. */
  counts(): Record<string, number>;
}

export interface SourceHost {
  ready(): void;
  state(state: State, reason: string | null): void;
  /** A coded picture arrived. */
  coded(coded: Coded, now: number): void;
  /** Media time begins anew. */
  restart(): void;
  /** The box answered a ping; local monotonic and UTC times in ms. */
  pong(sent: number, t1: number, t2: number, received: number, errorMs: number | null): void;
  /** This way is not to be had here: take the next; `sockets`: nor is any other by this box's sockets. */
  giveUp(why: string, sockets: boolean): void;
}
