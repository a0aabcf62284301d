import { describe, expect, it } from "vitest";
import { readDetectionsMessage, readVideoMessage } from "./messages.ts";
import { HEADER_BYTES, keyText, readCoded, WireError } from "./wire.ts";

/** A message as the contract says, field by field. */
function message(change: (view: DataView) => void = () => {}, payload = [1, 2, 3]): ArrayBuffer {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  bytes.set(payload, HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setUint8(1, 1);
  view.setUint32(4, 3, true);
  view.setBigUint64(8, 1_234_567n, true);
  view.setBigInt64(16, 1_795_123_456_789_012n, true);
  view.setUint32(24, 2500, true);
  view.setUint32(28, 33_333, true);
  view.setBigInt64(32, 1_200_000n, true);
  change(view);
  return bytes.buffer;
}

describe("a video message", () => {
  it("is read field by field", () => {
    const coded = readCoded("gate", message());
    expect(coded).toMatchObject({
      keyPicture: true,
      initSegment: false,
      discontinuity: false,
      capture: { utcMs: 1_795_123_456_789.012, errorMs: 2.5 },
      durationUs: 33_333,
      decodeUs: 1_200_000,
    });
    expect(keyText(coded.key)).toBe("gate/3/1234567");
    expect([...coded.data]).toEqual([1, 2, 3]);
  });
  it("keeps keys exact up to 2^53", () => {
    const most = 2n ** 53n - 1n;
    expect(
      readCoded(
        "g",
        message((v) => v.setBigUint64(8, most, true)),
      ).key.mediaUs,
    ).toBe(Number(most));
    expect(() =>
      readCoded(
        "g",
        message((v) => v.setBigUint64(8, 2n ** 53n, true)),
      ),
    ).toThrow(WireError);
  });
  it("knows what is not known", () => {
    expect(
      readCoded(
        "g",
        message((v) => v.setBigInt64(16, 0n, true)),
      ).capture,
    ).toBeNull();
    expect(
      readCoded(
        "g",
        message((v) => v.setUint32(24, 0xffff_ffff, true)),
      ).capture?.errorMs,
    ).toBeNull();
  });
  it("tells flags apart", () => {
    const flags = (value: number) =>
      readCoded(
        "g",
        message((v) => v.setUint8(1, value)),
      );
    expect(flags(2)).toMatchObject({ keyPicture: false, initSegment: true, discontinuity: false });
    expect(flags(4)).toMatchObject({ keyPicture: false, initSegment: false, discontinuity: true });
  });
  it("is refused when cut or of another version", () => {
    expect(() => readCoded("g", message().slice(0, HEADER_BYTES))).toThrow(/40 bytes/);
    expect(() => readCoded("g", new ArrayBuffer(0))).toThrow(WireError);
    expect(() =>
      readCoded(
        "g",
        message((v) => v.setUint8(0, 2)),
      ),
    ).toThrow(/version 2/);
  });
});

describe("a text message", () => {
  it("is checked", () => {
    expect(readVideoMessage('{"type":"gap","reason":"source"}')).toEqual({ type: "gap", reason: "source" });
    expect(readVideoMessage('{"type":"of tomorrow"}')).toBeNull();
    expect(readDetectionsMessage('{"type":"lost","count":3}')).toEqual({ type: "lost", count: 3 });
    for (const bad of ["", "[]", "null", "{}", '{"type":7}', '{"type":"pong","t0":1}', '{"type":"stream"}']) {
      expect(() => readVideoMessage(bad)).toThrow(WireError);
    }
    expect(() => readDetectionsMessage('{"type":"detections","key":"a/1/2"}')).toThrow(/epoch/);
  });
});
