import { describe, expect, it } from "vitest";
import { chase } from "./chaser.ts";
import { BoxClock } from "./clock.ts";
import { Playout } from "./hold.ts";
import { Recent } from "./quantile.ts";

/** Numbers from a seed, 0 to 1 (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("the box's clock", () => {
  const truth = 1_795_000_000_000;
  it("is known within the bound, whatever the delays", () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const random = seeded(seed);
      const clock = new BoxClock();
      for (let at = 0; at < 60_000; at += 2000) {
        const [there, back] = [1 + 80 * random() ** 4, 1 + 80 * random() ** 4];
        clock.exchange(at, truth + at + there, truth + at + there + 0.3, at + there + back + 0.3, 0.5);
        const now = at + 200;
        const off = Math.abs((clock.offsetMs(now) ?? 0) - truth);
        expect(off).toBeLessThanOrEqual(clock.relativeErrorMs(now) ?? 0);
        expect(clock.errorMs(now)).toBeCloseTo((clock.relativeErrorMs(now) ?? 0) + 0.5);
      }
      expect(clock.steps).toBe(0);
    }
  });
  it("believes the quickest exchange and says that it ages", () => {
    const clock = new BoxClock();
    expect(clock.offsetMs(0)).toBeNull();
    clock.exchange(0, truth + 1, truth + 1, 2, null);
    clock.exchange(100, truth + 150, truth + 150, 160, null);
    expect(clock.offsetMs(200)).toBe(truth);
    expect(clock.errorMs(200)).toBeNull();
    expect(clock.relativeErrorMs(100_002)).toBeCloseTo(11, 3);
  });
  it("sees a step of the box's clock", () => {
    const clock = new BoxClock();
    clock.exchange(0, truth + 1, truth + 1, 2, 1);
    clock.exchange(2000, truth + 5001 + 2000, truth + 5001 + 2000, 2002, 1);
    expect(clock.steps).toBe(1);
    expect(clock.offsetMs(2002)).toBeCloseTo(truth + 5000);
  });
  it("ignores what cannot be", () => {
    const clock = new BoxClock();
    clock.exchange(10, truth, truth + 50, 20, 1);
    clock.exchange(10, Number.NaN, truth, 20, 1);
    expect(clock.offsetMs(30)).toBeNull();
  });
});

describe("the hold", () => {
  const options = { hold: "auto", maxHoldMs: 1000, minHoldMs: 0 } as const;
  /** A stream of 30 fps for `seconds`; the largest change of the hold a second of play, and the playout. */
  function play(playout: Playout, from: number, seconds: number, need: (n: number) => number) {
    let fastest = 0;
    let before = playout.position(from);
    for (let n = 0; n < seconds * 30; n += 1) {
      const now = from + (n * 1000) / 30;
      playout.picture(now - 5, now);
      playout.result(now - 5 - 300, now - 300 + need(n));
      playout.update(now);
      const position = playout.position(now);
      if (n > 15 && before !== null && position !== null) {
        fastest = Math.max(fastest, Math.abs((position - before) / (1000 / 30) - 1));
      }
      before = position;
    }
    return fastest;
  }
  it("is the p99 of what results needed", () => {
    const playout = new Playout({ ...options });
    const random = seeded(3);
    const needs = Array.from({ length: 600 }, () => 80 + 60 * random());
    play(playout, 0, 20, (n) => needs[n] ?? 0);
    expect(playout.holdMs).toBeGreaterThan(125);
    expect(playout.holdMs).toBeLessThan(145);
    expect(playout.jumps).toBe(0);
  });
  it("changes by speed, never by a jump", () => {
    const playout = new Playout({ ...options });
    play(playout, 0, 10, () => 60);
    const up = play(playout, 10_000, 10, () => 200);
    expect(playout.holdMs).toBeCloseTo(200, -1);
    expect(up).toBeLessThanOrEqual(0.1001);
    const down = play(playout, 20_000, 20, () => 60);
    expect(playout.holdMs).toBeCloseTo(60, -1);
    expect(down).toBeLessThanOrEqual(0.0501);
    expect(playout.jumps).toBe(0);
  });
  it("begins with the box's word and never passes its limits", () => {
    const playout = new Playout({ ...options, maxHoldMs: 300 });
    playout.latency(180);
    playout.picture(0, 5);
    playout.update(5);
    expect(playout.due(0)).toBe(185);
    play(playout, 100, 20, () => 900);
    expect(playout.holdMs).toBeCloseTo(300);
    playout.setHold(0);
    expect(playout.wantedMs).toBe(0);
    playout.setMinHold(40);
    expect(playout.wantedMs).toBe(40);
  });
  it("jumps only where media time does", () => {
    const playout = new Playout({ ...options });
    play(playout, 0, 5, () => 60);
    playout.restart();
    expect(playout.due(0)).toBeNull();
    playout.picture(1_000_000, 5000);
    playout.update(5000);
    expect(playout.due(1_000_000)).toBeCloseTo(5000 + playout.wantedMs);
    expect(playout.jumps).toBe(0);
  });
});

describe("quantiles", () => {
  it("forget what is old", () => {
    const recent = new Recent(3);
    expect(recent.quantile(0.5)).toBeNull();
    for (const value of [9, 1, 2, 3]) recent.add(value);
    expect([recent.quantile(0), recent.quantile(0.5), recent.quantile(0.99), recent.least()]).toEqual([1, 2, 3, 1]);
  });
});

describe("the chaser", () => {
  const live = [[10, 14]] as const;
  it("goes a little faster or slower", () => {
    expect(chase(12, 12.004, live)).toEqual({ rate: 1, seek: null });
    expect(chase(12, 12.05, live).rate).toBeGreaterThan(1);
    expect(chase(12, 12.05, live).rate).toBeLessThanOrEqual(1.08);
    expect(chase(12, 11.95, live).rate).toBeGreaterThanOrEqual(0.92);
  });
  it("seeks where speed does not do", () => {
    expect(chase(10, 13.5, live)).toEqual({ rate: 1, seek: 13.5 });
    expect(chase(12, 20, live).seek).toBeCloseTo(13.999);
    expect(chase(0, 12, live).seek).toBe(12);
    expect(chase(12, 12, [])).toEqual({ rate: 1, seek: null });
  });
  it("leaps over a hole", () => {
    const holed = [
      [10, 12],
      [13, 15],
    ] as const;
    expect(chase(12, 13.2, holed).seek).toBe(13.2);
  });
  it("arrives", () => {
    let at = 10;
    for (let now = 0; now < 10; now += 1 / 60) {
      const { rate, seek } = chase(at, 10.3 + now, [[9, 11 + now]]);
      at = seek ?? at + rate / 60;
    }
    expect(Math.abs(at - 20.3)).toBeLessThan(0.02);
  });
});
