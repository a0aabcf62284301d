// fMP4 of one H.264 track, one sample a fragment, timescale 1,000,000 (ISO/IEC 14496-12 and -15).

const u8 = (...v) => Buffer.from(v);
const u16 = (v) => u8(v >> 8, v & 255);
const u32 = (v) => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(v >>> 0);
  return b;
};
const u64 = (v) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(BigInt(v));
  return b;
};
const box = (type, ...parts) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u32(body.length + 8), Buffer.from(type, "latin1"), body]);
};
const full = (type, version, flags, ...parts) => box(type, u32((version << 24) | flags), ...parts);
const MATRIX = Buffer.concat([0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000].map(u32));
const TIMESCALE = 1_000_000;

/** `codecs` of the mime type. */
export const codecOf = (sps) => `avc1.${[...sps.subarray(1, 4)].map((b) => b.toString(16).padStart(2, "0")).join("")}`;

/** AVCDecoderConfigurationRecord. */
export const avcConfig = (sps, pps) =>
  Buffer.concat([u8(1, sps[1], sps[2], sps[3], 0xff, 0xe1), u16(sps.length), sps, u8(1), u16(pps.length), pps]);

export function initSegment(sps, pps, width, height) {
  const avcC = box("avcC", avcConfig(sps, pps));
  const zeros = (n) => Buffer.alloc(n);
  const avc1 = box(
    "avc1",
    ...[
      zeros(6),
      u16(1),
      zeros(16),
      u16(width),
      u16(height),
      u32(0x480000),
      u32(0x480000),
      zeros(4),
      u16(1),
      zeros(32),
    ],
    ...[u16(24), u16(0xffff), avcC],
  );
  const stbl = box(
    "stbl",
    ...[full("stsd", 0, 0, u32(1), avc1), full("stts", 0, 0, u32(0)), full("stsc", 0, 0, u32(0))],
    ...[full("stsz", 0, 0, u32(0), u32(0)), full("stco", 0, 0, u32(0))],
  );
  const dinf = box("dinf", full("dref", 0, 0, u32(1), full("url ", 0, 1)));
  const minf = box("minf", full("vmhd", 0, 1, zeros(8)), dinf, stbl);
  const mdia = box(
    "mdia",
    full("mdhd", 0, 0, u32(0), u32(0), u32(TIMESCALE), u32(0), u16(0x55c4), u16(0)),
    full("hdlr", 0, 0, u32(0), Buffer.from("vide"), zeros(12), Buffer.from("video\0")),
    minf,
  );
  const tkhd = full(
    "tkhd",
    ...[0, 3, u32(0), u32(0), u32(1), u32(0), u32(0), zeros(8), u16(0), u16(0), u16(0), u16(0), MATRIX],
    ...[u32(width << 16), u32(height << 16)],
  );
  const mvhd = full(
    "mvhd",
    ...[0, 0, u32(0), u32(0), u32(1000), u32(0), u32(0x10000), u16(0x100), zeros(10), MATRIX, zeros(24), u32(2)],
  );
  const trex = full("trex", 0, 0, u32(1), u32(1), u32(0), u32(0), u32(0));
  return Buffer.concat([
    box("ftyp", Buffer.from("isom"), u32(512), Buffer.from("isomiso6avc1")),
    box("moov", mvhd, box("trak", tkhd, mdia), box("mvex", trex)),
  ]);
}

/** One access unit as a fragment; `mediaUs` its decode time, which is that of presentation too. */
export function fragment(sequence, unit, mediaUs, durationUs) {
  const sample = Buffer.concat(
    unit.nals.filter((nal) => ![7, 8, 9].includes(nal[0] & 31)).flatMap((nal) => [u32(nal.length), nal]),
  );
  const flags = unit.key ? 0x02000000 : 0x01010000;
  const moof = (offset) =>
    box(
      "moof",
      full("mfhd", 0, 0, u32(sequence)),
      box(
        "traf",
        full("tfhd", 0, 0x020000, u32(1)),
        full("tfdt", 1, 0, u64(mediaUs)),
        // data offset, then duration, size and flags of the sample
        full("trun", 0, 0x000701, u32(1), u32(offset), u32(durationUs), u32(sample.length), u32(flags)),
      ),
    );
  const size = moof(0).length;
  return Buffer.concat([moof(size + 8), box("mdat", sample)]);
}
