import { describe, expect, it } from "vitest";
import { APPROXIMATE, ApproximateBuffer } from "./approximate.ts";
import { Detections } from "./detections.ts";
import { baseOf } from "./flv.ts";
import type { DetectionsMessage } from "./messages.ts";

function message(timestamp: number, frame: number | null = null): DetectionsMessage {
  const key = `a/1/${timestamp * 1000 + 333}`;
  const about = {
    stream: "a",
    epoch: 1,
    media_us: timestamp * 1000 + 333,
    capture: null,
    width: 1,
    height: 1,
    detections: [],
  };
  return { type: "detections", timestamp, frame_id: frame, key, ...about };
}

describe("the approximate mode", () => {
  it("takes the nearest result within the tolerance, through the stream's start", () => {
    const buffer = new ApproximateBuffer({ ...APPROXIMATE, startOffsetMs: 5000 });
    for (const at of [5200, 5000, 5100]) buffer.add(message(at));
    expect(buffer.nearest(90)?.timestamp).toBe(5100);
    expect(buffer.nearest(300)?.timestamp).toBe(5200);
    expect(buffer.nearest(301)).toBeNull();
  });
  it("keeps a hundred, in order, one for each time", () => {
    const buffer = new ApproximateBuffer(APPROXIMATE);
    for (let n = 0; n < 150; n += 1) buffer.add(message(n * 40));
    buffer.add(message(149 * 40));
    expect(buffer.length).toBe(100);
    expect([buffer.nearest(49 * 40)?.timestamp, buffer.nearest(45 * 40)]).toEqual([50 * 40, null]);
  });
  it("finds frame numbers", () => {
    const buffer = new ApproximateBuffer(APPROXIMATE);
    buffer.add(message(40, 7));
    expect([buffer.numbered(7)?.timestamp, buffer.numbered(8)]).toEqual([40, null]);
  });
});

describe("the exact mode", () => {
  it("knows its base from onMetaData", () => {
    const meta = { stream: "gate", epoch: 3, timestampBase: 1234, width: 640 };
    expect(baseOf({ onMetaData: meta })).toEqual({ stream: "gate", epoch: 3, timestampMs: 1234 });
    expect(baseOf(meta)?.epoch).toBe(3);
    for (const other of [null, {}, { onMetaData: { width: 640 } }, { onMetaData: null }])
      expect(baseOf(other)).toBeNull();
  });
  it("finds the key by epoch and timestamp, exactly", () => {
    const store = new Detections();
    store.add(message(1234));
    store.skip(["a/1/1300999"]);
    expect(store.stamped(1, 1234)).toBe(1_234_333);
    expect(store.stamped(1, 1300)).toBe(1_300_999);
    expect([store.stamped(1, 1235), store.stamped(2, 1234)]).toEqual([null, null]);
  });
});
