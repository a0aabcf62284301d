import { describe, expect, it } from "vitest";
import { rtpTimeOf } from "./rtp-frames.ts";
import { RtpKeys, rtpOf } from "./webrtc.ts";
import { serversOf } from "./whep.ts";
import { HEADER_BYTES, readCoded } from "./wire.ts";

function named(rtp: number, mediaUs: number): ArrayBuffer {
  const message = new ArrayBuffer(HEADER_BYTES + 4);
  const view = new DataView(message);
  view.setUint8(0, 1);
  view.setUint32(4, 3, true);
  view.setBigUint64(8, BigInt(mediaUs), true);
  view.setUint32(HEADER_BYTES, rtp, true);
  return message;
}

describe("keys by RTP time", () => {
  it("reads the RTP time that stands in place of a picture", () => {
    expect(rtpOf(readCoded("gate", named(0xffff_fff0, 40_000)))).toBe(0xffff_fff0);
    const longer = new ArrayBuffer(HEADER_BYTES + 5);
    new DataView(longer).setUint8(0, 1);
    expect(() => rtpOf(readCoded("gate", longer))).toThrow("4 bytes");
  });
  it("finds the very key and no other, and forgets the oldest", () => {
    const keys = new RtpKeys(3);
    for (let n = 0; n < 4; n += 1) keys.add(n * 3600, readCoded("gate", named(n * 3600, n * 40_000)));
    expect([0, 3600, 3601, 10_800].map((rtp) => keys.find(rtp)?.key.mediaUs)).toEqual([
      undefined,
      40_000,
      undefined,
      120_000,
    ]);
    // After 13 hours a time comes again: it is the new picture's, and the last one to go.
    keys.add(3600, readCoded("gate", named(3600, 47_721_898_773)));
    keys.add(99, readCoded("gate", named(99, 1100)));
    expect([keys.find(3600)?.key.mediaUs, keys.find(7200)]).toEqual([47_721_898_773, undefined]);
    keys.clear();
    expect(keys.find(3600)).toBeUndefined();
  });
});

describe("the RTP time of a frame", () => {
  const shown = { mediaTime: 1.25, rtpTimestamp: 900 };
  it("is the frame's own where the browser tells it", () => {
    expect(rtpTimeOf({ timestamp: 7, metadata: () => ({ rtpTimestamp: 4500 }) }, shown)).toBe(4500);
  });
  it("is the callback's only where both are of one picture", () => {
    expect(rtpTimeOf({ timestamp: 1_250_000 }, shown)).toBe(900);
    expect(rtpTimeOf({ timestamp: 1_250_000, metadata: () => ({}) }, shown)).toBe(900);
    expect(rtpTimeOf({ timestamp: 1_266_667 }, shown)).toBeNull();
    expect(rtpTimeOf({ timestamp: 1_250_000 }, { mediaTime: 1.25 })).toBeNull();
  });
});

describe("the servers that the box names", () => {
  it("are read from Link headers, with their login", () => {
    const links =
      '<stun:s:1>; rel="ice-server", <turn:t:2?transport=tcp>; rel="ice-server"; username="a, b"; credential="<c>; d"; ' +
      'credential-type="password", <https://x>; rel="next"';
    expect(serversOf(links)).toEqual([
      { urls: "stun:s:1" },
      { urls: "turn:t:2?transport=tcp", username: "a, b", credential: "<c>; d" },
    ]);
    expect([serversOf(null), serversOf("")]).toEqual([[], []]);
  });
});
