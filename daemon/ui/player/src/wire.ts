// The binary messages of a video socket: a header of 40 bytes and one coded picture (docs/reference/live.md). Pure.

/** Bytes of the header. */
export const HEADER_BYTES = 40;
const VERSION = 1;
const KEY_PICTURE = 1;
const INIT_SEGMENT = 2;
const DISCONTINUITY = 4;
const UTC_UNKNOWN = 0xffff_ffff;

/** What names one picture of one stream for ever. */
export interface FrameKey {
  readonly stream: string;
  readonly epoch: number;
  /** Media time within the epoch in microseconds; an exact integer below 2^53. */
  readonly mediaUs: number;
}

/** `stream/epoch/media_us`, as every document of the box writes it. */
export function keyText(key: FrameKey): string {
  return `${key.stream}/${key.epoch}/${key.mediaUs}`;
}

/** When a picture was captured, as far as the box knows. */
export interface Capture {
  /** UTC in milliseconds since 1970. */
  readonly utcMs: number;
  /** The truth lies within ± this; null while the box does not know UTC. */
  readonly errorMs: number | null;
}

/** One coded picture, or the init segment that fMP4 begins with. */
export interface Coded {
  readonly key: FrameKey;
  /** A decoder can begin here. */
  readonly keyPicture: boolean;
  readonly initSegment: boolean;
  /** Pictures are missing before this one. */
  readonly discontinuity: boolean;
  readonly capture: Capture | null;
  /** 0 when not known. */
  readonly durationUs: number;
  /** Media time of decode order; that of the key where there are no B-frames. */
  readonly decodeUs: number;
  /** Annex B access unit, or `moof` + `mdat`. */
  readonly data: Uint8Array;
}

/** A message that does not follow the contract. */
export class WireError extends Error {
  override name = "WireError";
}

function integer(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new WireError(`${what} is ${value}, which is not exact in JavaScript`);
  return number;
}

/** Reads one binary message of the video of `stream`. The data is a view of `message`, not a copy. */
export function readCoded(stream: string, message: ArrayBuffer): Coded {
  if (message.byteLength <= HEADER_BYTES) {
    throw new WireError(`a picture's message has ${message.byteLength} bytes: more than ${HEADER_BYTES} are wanted`);
  }
  const view = new DataView(message);
  const version = view.getUint8(0);
  if (version !== VERSION)
    throw new WireError(`version ${version} of the video messages is not known: update the page`);
  const flags = view.getUint8(1);
  const utcUs = integer(view.getBigInt64(16, true), "the capture time");
  const errorUs = view.getUint32(24, true);
  return {
    key: { stream, epoch: view.getUint32(4, true), mediaUs: integer(view.getBigUint64(8, true), "the media time") },
    keyPicture: (flags & KEY_PICTURE) !== 0,
    initSegment: (flags & INIT_SEGMENT) !== 0,
    discontinuity: (flags & DISCONTINUITY) !== 0,
    capture: utcUs === 0 ? null : { utcMs: utcUs / 1000, errorMs: errorUs === UTC_UNKNOWN ? null : errorUs / 1000 },
    durationUs: view.getUint32(28, true),
    decodeUs: integer(view.getBigInt64(32, true), "the decode time"),
    data: new Uint8Array(message, HEADER_BYTES),
  };
}
