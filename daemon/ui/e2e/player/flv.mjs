// FLV of one H.264 track (Adobe FLV specification 10.1, annex E), as this box's server makes it, or as a stock one.

const u24 = (v) => Buffer.from([(v >> 16) & 255, (v >> 8) & 255, v & 255]);
const u32 = (v) => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(v >>> 0);
  return b;
};

function tag(kind, ms, body) {
  const head = Buffer.concat([
    Buffer.from([kind]),
    u24(body.length),
    u24(ms),
    Buffer.from([(ms >>> 24) & 255]),
    u24(0),
  ]);
  return Buffer.concat([head, body, u32(head.length + body.length)]);
}

const text = (value) => Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)]);
function amf(value) {
  if (typeof value === "string") return Buffer.concat([Buffer.from([2]), text(value)]);
  const b = Buffer.alloc(9);
  b.writeDoubleBE(value, 1);
  return b;
}

const stampOf = (coded) => Math.floor(coded.mediaUs / 1000);

/** What stands before the first picture; `stream` null: without saying where the stream begins. */
export function flvHeader(clip, first, stream) {
  const meta = { width: 640, height: 360, videocodecid: 7 };
  if (stream !== null) Object.assign(meta, { stream, epoch: first.epoch, timestampBase: stampOf(first) });
  const fields = Object.entries(meta).flatMap(([name, value]) => [text(name), amf(value)]);
  const script = [
    amf("onMetaData"),
    Buffer.from([8]),
    u32(Object.keys(meta).length),
    ...fields,
    Buffer.from([0, 0, 9]),
  ];
  const sets = Buffer.concat([Buffer.from([0x17, 0, 0, 0, 0]), clip.avcC]);
  const begin = Buffer.from([0x46, 0x4c, 0x56, 1, 1, 0, 0, 0, 9, 0, 0, 0, 0]);
  return Buffer.concat([begin, tag(18, stampOf(first), Buffer.concat(script)), tag(9, stampOf(first), sets)]);
}

export function flvPicture(coded) {
  const nals = coded.unit.nals
    .filter((nal) => ![7, 8, 9].includes(nal[0] & 31))
    .flatMap((nal) => [u32(nal.length), nal]);
  return tag(9, stampOf(coded), Buffer.concat([Buffer.from([coded.unit.key ? 0x17 : 0x27, 1, 0, 0, 0]), ...nals]));
}
