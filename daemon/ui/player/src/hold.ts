// When a picture is due on the screen: a fixed delay behind its fastest possible arrival, long enough that nearly every
// result of the detector is there by then. Pure: the clock is an argument, in ms of a local monotonic clock.
//
//   offset = least of (arrival - media time) of the last pictures + hold          due(media) = media + offset
//
// The hold follows the p99 of what results needed, in steps that are rare and slow: the picture is played a little slower
// or faster, it never jumps. On a wall of several streams the offset follows UTC instead (wall.ts).

import { Recent } from "./quantile.ts";

export interface HoldOptions {
  /** `auto`: from the measured latency of the detector. A number: ms, set by hand. */
  hold: "auto" | number;
  /** Never hold longer than this, in ms. */
  maxHoldMs: number;
  /** Never less, in ms: what a path needs to play smoothly. */
  minHoldMs: number;
}

/** Pictures whose arrivals are remembered: 10 s at 30 fps. */
const ARRIVALS = 300;
/** Results whose need is remembered. */
const RESULTS = 300;
/** Own measurements before they are believed more than the box's word. */
const ENOUGH = 30;
/** A change of the hold below this is not worth a change of speed, in ms. */
const CALM_MS = 12;
/** A hold that is too short shows frames without boxes, so it grows faster than it shrinks; share of real time. */
const SLOWER = 0.1;
const FASTER = 0.05;
/** What is farther off than this is not reached by a change of speed, in ms: a new start, a new camera clock. */
const JUMP_MS = 400;
/** After a start the offset follows at once, as the first pictures come in a burst; in ms. */
const SETTLE_MS = 400;

export class Playout {
  private readonly arrivals = new Recent(ARRIVALS);
  private readonly needs = new Recent(RESULTS);
  private boxP99: number | null = null;
  private wanted: number;
  private current: number | null = null;
  private startedAt: number | null = null;
  private updatedAt = 0;
  private walled: number | null = null;
  /** Times the picture jumped because it was too far off for a change of speed. */
  jumps = 0;

  constructor(readonly options: HoldOptions) {
    this.wanted = this.clamp(typeof options.hold === "number" ? options.hold : 0);
  }

  setHold(hold: "auto" | number): void {
    this.options.hold = hold;
    this.choose(true);
  }

  setMinHold(ms: number): void {
    this.options.minHoldMs = ms;
    this.choose(true);
  }

  /** A picture of `mediaMs` arrived, in coded form. */
  picture(mediaMs: number, now: number): void {
    this.arrivals.add(now - mediaMs);
    if (this.startedAt === null) {
      this.startedAt = now;
      this.updatedAt = now;
    }
  }

  /** The result of the frame of `mediaMs` arrived: it would have been in time with a hold of this length. */
  result(mediaMs: number, now: number): void {
    const base = this.arrivals.least();
    if (base === null) return;
    const need = now - mediaMs - base;
    // A clock that was set, or a result of another time.
    if (need > 10 * this.options.maxHoldMs || need < -this.options.maxHoldMs) return;
    this.needs.add(Math.max(0, need));
    if (this.needs.count === ENOUGH || this.needs.count % 15 === 0) this.choose(this.needs.count <= ENOUGH);
  }

  /** What the box says of its detector, capture to result: believed until enough was measured here. */
  latency(p99Ms: number): void {
    this.boxP99 = p99Ms;
    this.choose(this.needs.count < ENOUGH);
  }

  /** A new epoch or a reconnect: media time begins anew, what was learnt of the detector stays. */
  restart(): void {
    this.arrivals.clear();
    this.current = null;
    this.startedAt = null;
    this.walled = null;
  }

  /** Follows the offset that a wall of streams asks for, or its own again with null. */
  follow(offsetMs: number | null): void {
    this.walled = offsetMs;
  }

  /** Moves the offset towards where it should be. Call before asking what is due. */
  update(now: number): void {
    const target = this.target();
    if (target === null || this.startedAt === null) return;
    const passed = Math.max(0, now - this.updatedAt);
    this.updatedAt = now;
    const away = this.current === null ? 0 : target - this.current;
    if (this.current === null || now - this.startedAt < SETTLE_MS) {
      this.current = target;
    } else if (Math.abs(away) > JUMP_MS) {
      this.current = target;
      this.jumps += 1;
    } else {
      this.current += Math.max(-FASTER * passed, Math.min(SLOWER * passed, away));
    }
  }

  /** Local time at which the picture of `mediaMs` is due; null before the first picture. */
  due(mediaMs: number): number | null {
    return this.current === null ? null : mediaMs + this.current;
  }

  /** Media time that is due now, in ms. */
  position(now: number): number | null {
    return this.current === null ? null : now - this.current;
  }

  /** How long pictures are held now, in ms behind the fastest arrival. */
  get holdMs(): number {
    const base = this.arrivals.least();
    return this.current === null || base === null ? this.wanted : this.current - base;
  }

  /** The hold that is aimed at. */
  get wantedMs(): number {
    return this.wanted;
  }

  /** The offset of this stream alone, without a wall. */
  ownOffset(): number | null {
    const base = this.arrivals.least();
    return base === null ? null : base + this.wanted;
  }

  private target(): number | null {
    return this.arrivals.count === 0 ? null : (this.walled ?? this.ownOffset());
  }

  private clamp(ms: number): number {
    return Math.min(Math.max(ms, this.options.minHoldMs), Math.max(this.options.maxHoldMs, this.options.minHoldMs));
  }

  private choose(atOnce: boolean): void {
    const { hold } = this.options;
    const measured = this.needs.count >= ENOUGH ? this.needs.quantile(0.99) : this.boxP99;
    const next = this.clamp(hold === "auto" ? (measured ?? 0) : hold);
    if (atOnce || Math.abs(next - this.wanted) > CALM_MS) this.wanted = next;
  }
}
