import { describe, expect, it } from "vitest";
import { Detections } from "./detections.ts";
import { canvasSize } from "./draw.ts";
import type { DetectionsMessage } from "./messages.ts";
import { toMessage } from "./pictures.ts";
import { Tracks } from "./tracks.ts";

function message(mediaUs: number, x = 100, id: number | null = 1, epoch = 1): DetectionsMessage {
  return {
    type: "detections",
    stream: "a",
    timestamp: Math.floor(mediaUs / 1000),
    frame_id: null,
    key: `a/${epoch}/${mediaUs}`,
    epoch,
    media_us: mediaUs,
    capture: null,
    width: 1000,
    height: 1000,
    detections: [{ id, x, y: 100, width: 100, height: 100, confidence: 0.9, class: "car" }],
  };
}
const key = (mediaUs: number, epoch = 1) => ({ stream: "a", epoch, mediaUs });

describe("detections", () => {
  it("are found by the exact key and no other", () => {
    const store = new Detections();
    store.add(message(1000));
    expect(store.find(key(1000)).state).toBe("exact");
    for (const other of [999, 1001]) expect(store.find(key(other)).state).toBe("pending");
    expect(store.find(key(1000, 2)).state).toBe("pending");
    expect(store.find({ ...key(1000), stream: "b" }).state).toBe("pending");
  });
  it("count what came late, never, or was skipped", () => {
    const store = new Detections();
    for (let n = 1; n <= 4; n += 1) store.shown(key(n), n);
    store.add(message(1));
    store.skip(["a/1/2"]);
    store.add(message(5));
    store.shown(key(5), 5);
    expect(store.counts).toEqual({ exact: 1, skipped: 1, late: 1, never: 0, lost: 0 });
    expect(store.waiting).toBe(2);
    store.shown(key(6), 5003.5);
    expect(store.counts.never).toBe(1);
    store.lose(7);
    expect(store.counts.lost).toBe(7);
  });
  it("believe a result more than a word that there is none", () => {
    const store = new Detections();
    store.add(message(1));
    store.skip(["a/1/1", "a/1/2"]);
    expect([store.find(key(1)).state, store.find(key(2)).state]).toEqual(["exact", "skipped"]);
  });
  it("are bounded", () => {
    const store = new Detections();
    for (let n = 0; n < 1000; n += 1) store.add(message(n));
    expect([store.find(key(399)).state, store.find(key(400)).state]).toEqual(["pending", "exact"]);
  });
});

describe("tracks", () => {
  const plain = { smoothing: null, predict: true, trail: 3 };
  it("draw boxes as they were found", () => {
    const [box] = new Tracks(plain).exact(message(0, 250));
    expect(box).toMatchObject({ id: 1, x: 0.25, y: 0.1, width: 0.1, height: 0.1, label: "car", predicted: false });
  });
  it("smooth with the factor asked for, and not over a leap", () => {
    const tracks = new Tracks({ ...plain, smoothing: 0.3 });
    tracks.exact(message(0, 100));
    expect(tracks.exact(message(33_000, 120))[0]?.x).toBeCloseTo(0.106);
    expect(tracks.exact(message(66_000, 700))[0]?.x).toBe(0.7);
    expect(tracks.trail(1)).toHaveLength(1);
    // Without an id there is nothing to smooth with.
    expect(tracks.exact(message(99_000, 300, null))[0]?.x).toBe(0.3);
  });
  it("predict between two results, and onward from the last", () => {
    const tracks = new Tracks(plain);
    tracks.exact(message(0, 100));
    tracks.exact(message(100_000, 110));
    const between = tracks.predicted(150_000, message(100_000, 110), message(200_000, 120))[0];
    expect(between).toMatchObject({ predicted: true });
    expect(between?.x).toBeCloseTo(0.115);
    expect(tracks.predicted(150_000, message(100_000, 110), null)[0]?.x).toBeCloseTo(0.115);
  });
  it("predict nothing that leaps, has ended, is too old or has no id", () => {
    const tracks = new Tracks(plain);
    expect(tracks.predicted(1000, message(0, 100), message(2000, 800))).toEqual([]);
    expect(tracks.predicted(1000, message(0, 100), message(2000, 100, 2))).toEqual([]);
    expect(tracks.predicted(1_000_000, message(0), null)).toEqual([]);
    expect(tracks.predicted(1000, message(0, 100, null), null)).toEqual([]);
    expect(tracks.predicted(1000, null, message(2000))).toEqual([]);
    expect(new Tracks({ ...plain, predict: false }).predicted(1000, message(0), message(2000))).toEqual([]);
  });
  it("begin anew with an epoch", () => {
    const tracks = new Tracks({ ...plain, smoothing: 0.3 });
    tracks.exact(message(0, 100));
    expect(tracks.exact(message(33_000, 120, 1, 2))[0]?.x).toBe(0.12);
    expect(tracks.trail(1)).toHaveLength(1);
  });
  it("keep trails short", () => {
    const tracks = new Tracks(plain);
    for (let n = 0; n < 9; n += 1) tracks.exact(message(n * 33_000, 100 + n));
    expect(tracks.trail(1)).toHaveLength(3);
    expect(tracks.trail(null)).toEqual([]);
  });
});

describe("a single picture", () => {
  it("carries its own boxes", () => {
    const capture = { utc: "2026-11-21T10:00:00Z", error_ms: 1, source: "ptp" };
    const detections = [
      { track: 4, label: "person", score: 0.8, bbox: [0.1, 0.2, 0.3, 0.4] as [number, number, number, number] },
    ];
    const found = toMessage({ key: "gate/3/1234567", seq: 9, capture, detections });
    expect(found).toMatchObject({ key: "gate/3/1234567", epoch: 3, media_us: 1_234_567, timestamp: 1234, width: 1 });
    expect(found.detections[0]).toMatchObject({ id: 4, x: 0.1, y: 0.2, width: 0.3, height: 0.4, class: "person" });
  });
});

describe("the canvas", () => {
  it("has the pixels of the screen and the shape of the picture", () => {
    const picture = { width: 1920, height: 1080 };
    expect(canvasSize(picture, { width: 640, height: 360 }, 1)).toEqual({ width: 640, height: 360 });
    expect(canvasSize(picture, { width: 390, height: 400 }, 2)).toEqual({ width: 780, height: 439 });
    expect(canvasSize(picture, { width: 1000, height: 200 }, 1)).toEqual({ width: 356, height: 200 });
    expect(canvasSize(picture, { width: 0, height: 0 }, 1)).toEqual(picture);
  });
});
