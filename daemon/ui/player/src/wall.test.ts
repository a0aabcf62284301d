import { describe, expect, it } from "vitest";
import { type Member, plan, type Timing, Wall } from "./wall.ts";

const timing = (capturedMs: number, lag: number): Timing => ({ capturedMs, readyMs: capturedMs + lag, errorMs: 1 });

class Fake implements Member {
  told: number | null = null;
  constructor(public at: Timing | null) {}
  timing(): Timing | null {
    return this.at;
  }
  follow(offsetMs: number | null): void {
    this.told = offsetMs;
  }
}

describe("a wall", () => {
  it("waits for the slowest, and for nobody who is far too slow", () => {
    expect(plan([timing(0, 80), timing(500, 220), null], null)).toBe(220);
    expect(plan([timing(0, 80), timing(500, 9000)], null)).toBe(80);
    expect(plan([null], null)).toBeNull();
  });
  it("is not moved by trifles, unless somebody would be late", () => {
    expect(plan([timing(0, 215)], 220)).toBe(220);
    expect(plan([timing(0, 222)], 220)).toBe(222);
    expect(plan([timing(0, 150)], 220)).toBe(150);
  });
  it("shows one instant: captured at one time, due at one time", () => {
    const wall = new Wall(() => 0);
    const [a, b, late, silent] = [
      new Fake(timing(0, 80)),
      new Fake(timing(500, 220)),
      new Fake(timing(9, 9000)),
      new Fake(null),
    ];
    for (const member of [a, b, late, silent]) wall.add(member);
    wall.look();
    expect([a.told, b.told, late.told, silent.told]).toEqual([220, 720, null, null]);
    expect([wall.lagMs, wall.errorMs]).toEqual([220, 2]);
    wall.remove(b);
    expect(b.told).toBeNull();
    wall.remove(late);
    wall.look();
    // Alone, nobody is held for others.
    expect([a.told, wall.lagMs]).toEqual([null, null]);
    for (const member of [a, silent]) wall.remove(member);
  });
});
