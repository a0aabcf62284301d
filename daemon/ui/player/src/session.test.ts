import { describe, expect, it } from "vitest";
import { paths } from "./capabilities.ts";
import { type Event, Session } from "./session.ts";

function drained(session: Session): string[] {
  const all: string[] = [];
  for (let action = session.poll(); action; action = session.poll()) all.push(action);
  return all;
}
const lost: Event = { type: "lost", code: 1006, reason: "" };

describe("a session", () => {
  it("connects, plays, tells of gaps and of waiting", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    expect(drained(session)).toEqual(["connect"]);
    const seen = (["opened", "picture", "gap", "picture"] as const).map((type) => {
      session.handle({ type }, 10);
      return session.state;
    });
    expect(seen).toEqual(["connecting", "playing", "gap", "playing"]);
    session.handle({ type: "waiting", reason: "offline" }, 20);
    expect([session.state, session.reason]).toEqual(["waiting", "offline"]);
    session.handle({ type: "picture" }, 30);
    expect([session.state, session.reason]).toEqual(["playing", null]);
    expect(drained(session)).toEqual([]);
  });
  it("tries again, later each time, and at once after success", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    drained(session);
    const waits: number[] = [];
    let now = 0;
    for (let n = 0; n < 7; n += 1) {
      session.handle(lost, now);
      expect(session.state).toBe("reconnecting");
      const at = session.deadline() ?? 0;
      waits.push(at - now);
      session.tick(at - 1);
      expect(drained(session)).toEqual([]);
      session.tick(at);
      expect(drained(session)).toEqual(["connect"]);
      now = at;
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 8000, 8000]);
    expect(session.neverOpened).toBe(7);
    session.handle({ type: "opened" }, now);
    session.handle({ type: "picture" }, now);
    session.handle(lost, now);
    expect([(session.deadline() ?? 0) - now, session.neverOpened]).toEqual([500, 0]);
  });
  it("waits long where the box says no", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    session.handle({ type: "error", detail: "no such stream" }, 0);
    session.handle({ type: "lost", code: 4404, reason: "" }, 0);
    expect([session.deadline(), session.reason]).toEqual([15_000, "no such stream"]);
  });
  it("takes silence for a lost connection", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    session.handle({ type: "opened" }, 100);
    session.handle({ type: "heard" }, 5000);
    drained(session);
    session.tick(12_999);
    expect(session.state).toBe("connecting");
    session.tick(13_000);
    expect([session.state, drained(session)]).toEqual(["reconnecting", ["disconnect"]]);
  });
  it("rests while nobody looks", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    session.handle({ type: "picture" }, 0);
    drained(session);
    session.handle({ type: "visible", yes: false }, 1000);
    expect(session.state).toBe("hidden");
    // Back in time: the connection is still there.
    session.handle({ type: "picture" }, 2000);
    session.handle({ type: "visible", yes: true }, 3000);
    session.tick(60_000 - 54_000);
    session.handle({ type: "picture" }, 3010);
    expect([session.state, drained(session)]).toEqual(["playing", []]);
    session.handle({ type: "visible", yes: false }, 4000);
    session.tick(8000);
    expect(drained(session)).toEqual(["disconnect"]);
    session.handle({ type: "visible", yes: true }, 90_000);
    expect([session.state, drained(session)]).toEqual(["connecting", ["connect"]]);
  });
  it("stays paused though pictures come, and connects for nobody", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    session.handle({ type: "pause" }, 0);
    session.handle({ type: "picture" }, 1);
    expect(session.state).toBe("paused");
    session.handle(lost, 2);
    expect(session.deadline()).toBeNull();
    drained(session);
    session.handle({ type: "resume" }, 3);
    expect(drained(session)).toEqual(["connect"]);
  });
  it("ends", () => {
    const session = new Session(() => 0.5);
    session.handle({ type: "start" }, 0);
    session.handle({ type: "close" }, 1);
    session.handle({ type: "visible", yes: true }, 2);
    session.handle(lost, 3);
    expect([session.state, session.deadline(), drained(session)]).toEqual(["closed", null, ["connect", "disconnect"]]);
  });
});

describe("ways to show pictures", () => {
  it("are those of the browser, best first", () => {
    const all = { isSecureContext: true, VideoDecoder: 1, VideoFrame: 1, MediaSource: 1 };
    expect(paths(all)).toEqual(["webcodecs", "mse", "pictures"]);
    expect(paths({ ...all, isSecureContext: false })).toEqual(["mse", "pictures"]);
    expect(paths({ ...all, MediaSource: undefined, ManagedMediaSource: 1 })).toContain("mse");
    expect(paths({})).toEqual(["pictures"]);
  });
});
