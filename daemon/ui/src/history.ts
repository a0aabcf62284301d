// The last minute of a sync group, for its plot. Pure.

import type { PacketLine } from "./documents";

/** What the plot shows, seconds. */
export const WINDOW_S = 60;

export interface Sample {
  /** Milliseconds since 1970, of the packet's instant. */
  at: number;
  /** Null with fewer than two frames: there is nothing to be apart. */
  spread: number | null;
  /** Phase of each camera; null where it has no frame. */
  phases: Map<string, number | null>;
}

/** Packets of one group, oldest first, at most a minute of them. */
export class History {
  samples: Sample[] = [];
  /** When the newest came, by the page's own clock in milliseconds. */
  arrived = 0;

  add(packet: PacketLine, arrived: number): void {
    const at = Date.parse(packet.utc);
    if (Number.isNaN(at)) return;
    const newest = this.samples.at(-1);
    // UTC was stepped, or the daemon restarted: what was before is on another time line.
    if (newest && (at < newest.at || at > newest.at + WINDOW_S * 1000)) this.samples = [];
    const okay = packet.slots.filter((slot) => slot.status === "okay");
    this.samples.push({
      at,
      spread: okay.length < 2 ? null : packet.spread_ms,
      phases: new Map(packet.slots.map((slot) => [slot.cam, slot.status === "okay" ? slot.phase_ms : null])),
    });
    this.arrived = arrived;
    const oldest = at - WINDOW_S * 1000;
    const keep = this.samples.findIndex((sample) => sample.at >= oldest);
    if (keep > 0) this.samples.splice(0, keep);
  }

  /** The right edge of the plot: the newest packet's time, moving on until the next one. */
  now(clock: number): number {
    const newest = this.samples.at(-1);
    return newest ? newest.at + Math.max(0, clock - this.arrived) : 0;
  }
}

/** A limit for an axis: the next of 1, 2, 5 times a power of ten. */
export function niceLimit(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5]) {
    if (value <= step * power * 1.0001) return step * power;
  }
  return 10 * power;
}

/** How far the phases reach to either side. */
export function phaseReach(samples: readonly Sample[]): number {
  let reach = 0;
  for (const sample of samples) {
    for (const phase of sample.phases.values()) {
      if (phase !== null) reach = Math.max(reach, Math.abs(phase));
    }
  }
  return reach;
}
