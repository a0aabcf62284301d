// A box for the tests of the player: the contract of docs/reference/live.md from a clip, with faults on demand.
//
// What a stream does stands in its name: `f60-d200-j80-s10` gives 60 pictures a second, results 200 ms after their picture
// give or take 80, and passes over every tenth. `l150` sends each picture 150 ms late. `k7` begins at a media time of 7 days. Faults: POST /fault/STREAM/KIND with
// gap, epoch, waiting, close, quiet.

import { createServer } from "node:http";
import { performance } from "node:perf_hooks";
import { WebSocketServer } from "ws";
import { bundle, PAGE } from "./bundle.mjs";
import { GOP, HEIGHT, makeClip, PICTURES, square, WIDTH } from "./clip.mjs";
import { flvHeader, flvPicture } from "./flv.mjs";
import { avcConfig, codecOf, fragment, initSegment } from "./fmp4.mjs";

const utcMs = () => performance.timeOrigin + performance.now();
/** Bound that the headers tell, in us. */
const ERROR_US = 1500;

/** What the name of a stream asks for. */
export function wishes(name) {
  const number = (letter, otherwise) => Number(name.match(new RegExp(`(?:^|-)${letter}(\\d+)`))?.[1] ?? otherwise);
  return {
    fps: number("f", 30),
    delayMs: number("d", 60),
    jitterMs: number("j", 0),
    lateMs: number("l", 0),
    skipEvery: number("s", 0),
    firstMediaUs: number("k", 0) * 86_400_000_000,
  };
}

class Stream {
  viewers = new Set();
  readers = new Set();
  recent = [];
  delays = [];
  epoch = 1;
  count = 0;
  timer = null;
  quiet = false;
  waiting = false;
  gap = false;

  constructor(name, clip) {
    this.name = name;
    this.clip = clip;
    Object.assign(this, wishes(name));
    this.begin();
  }

  begin() {
    this.count = 0;
    // All streams capture at the same instants, as cameras that are synchronised do.
    const interval = 1000 / this.fps;
    this.began = Math.ceil(performance.now() / interval) * interval;
    this.beganUtcMs = performance.timeOrigin + this.began;
    this.ring = [];
  }

  /** `n`th picture of the epoch: media time in us. */
  mediaUs(n) {
    return this.firstMediaUs + Math.floor((n * 1e6) / this.fps);
  }

  run() {
    this.timer ??= setInterval(() => this.catchUp(), 2);
  }

  rest() {
    if (this.viewers.size + this.readers.size > 0) return;
    clearInterval(this.timer);
    this.timer = null;
    this.epoch += 1;
    this.recent = [];
    this.begin();
  }

  catchUp() {
    while (performance.now() >= this.began + (this.count * 1000) / this.fps) {
      const n = this.count;
      this.count += 1;
      if (!this.waiting) this.emit(n);
    }
  }

  emit(n) {
    const unit = this.clip.units[n % PICTURES];
    const coded = {
      n,
      epoch: this.epoch,
      unit,
      mediaUs: this.mediaUs(n),
      durationUs: this.mediaUs(n + 1) - this.mediaUs(n),
      utcUs: Math.round((this.beganUtcMs + (n * 1000) / this.fps) * 1000),
    };
    if (unit.key) this.ring = [];
    this.ring.push(coded);
    const send = () => {
      if (coded.epoch === this.epoch && !this.quiet) for (const viewer of this.viewers) viewer.give(coded);
    };
    if (this.lateMs > 0) setTimeout(send, this.lateMs);
    else send();
    this.detect(coded);
  }

  detect(coded) {
    const key = `${this.name}/${coded.epoch}/${coded.mediaUs}`;
    if (this.skipEvery && coded.n % this.skipEvery === this.skipEvery - 1) {
      setTimeout(() => this.tell({ type: "skipped", stream: this.name, keys: [key] }), 50);
      return;
    }
    const delay = Math.max(0, this.delayMs + (2 * Math.random() - 1) * this.jitterMs);
    const { x, y, side } = square(coded.n % PICTURES);
    const message = {
      type: "detections",
      stream: this.name,
      timestamp: Math.floor(coded.mediaUs / 1000),
      frame_id: coded.n,
      key,
      epoch: coded.epoch,
      media_us: coded.mediaUs,
      capture: { utc: new Date(coded.utcUs / 1000).toISOString(), error_ms: ERROR_US / 1000, source: "host" },
      width: WIDTH,
      height: HEIGHT,
      detections: [{ id: 1, x, y, width: side, height: side, confidence: 0.97, class: "square" }],
    };
    const capture = this.began + (coded.n * 1000) / this.fps;
    setTimeout(
      () => {
        this.delays.push(performance.now() - capture);
        if (this.delays.length > 300) this.delays.shift();
        this.recent.push(message);
        if (this.recent.length > 100) this.recent.shift();
        this.tell(message);
      },
      Math.max(0, capture + delay - performance.now()),
    );
  }

  latency() {
    const sorted = [...this.delays].sort((a, b) => a - b);
    const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
    return sorted.length ? { p50: at(0.5), p99: at(0.99) } : null;
  }

  tell(message) {
    for (const reader of this.readers) reader.send(JSON.stringify(message));
  }

  fault(kind) {
    if (kind === "close") for (const viewer of this.viewers) viewer.socket?.close(1011, "asked for");
    if (kind === "gap") for (const viewer of this.viewers) viewer.gap();
    if (kind === "quiet") this.quiet = !this.quiet;
    if (kind === "waiting") {
      this.waiting = !this.waiting;
      if (this.waiting) for (const viewer of this.viewers) viewer.say({ type: "waiting", reason: "offline" });
      else this.fault("epoch");
    }
    if (kind === "epoch") {
      this.epoch += 1;
      this.begin();
      for (const viewer of this.viewers) viewer.describe();
    }
  }
}

/** Who fetches FLV over HTTP; `base`: whether onMetaData says where the stream begins, as this box's server does. */
class FlvViewer {
  needsKey = true;

  constructor(response, stream, base) {
    Object.assign(this, { response, stream, base });
    for (const coded of stream.ring) this.give(coded);
  }

  say() {}
  gap() {}
  describe() {
    this.response.end();
  }

  give(coded) {
    const { clip, name } = this.stream;
    if (this.needsKey && !coded.unit.key) return;
    if (this.needsKey) this.response.write(flvHeader(clip, coded, this.base ? name : null));
    this.needsKey = false;
    this.response.write(flvPicture(coded));
  }
}

class Viewer {
  needsKey = true;
  sequence = 0;

  constructor(socket, stream, format) {
    Object.assign(this, { socket, stream, format });
    this.describe();
    // The last group of pictures, for who joins late.
    if (!stream.quiet) for (const coded of stream.ring) this.give(coded);
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  describe() {
    const { clip, epoch, fps, name } = this.stream;
    const mime = `video/mp4; codecs="${clip.codec}"`;
    const size = { width: WIDTH, height: HEIGHT, fps };
    this.say({
      type: "stream",
      stream: name,
      epoch,
      format: this.format,
      codec: clip.codec,
      ...size,
      transcoded: null,
      mime,
    });
    this.needsKey = true;
    if (this.format === "fmp4") this.socket.send(Buffer.concat([header({ flags: 2, epoch }), clip.init]));
  }

  gap() {
    this.say({ type: "gap", reason: "source" });
    this.skip = GOP / 2;
    this.needsKey = true;
  }

  give(coded) {
    if (this.skip > 0) {
      this.skip -= 1;
      return;
    }
    if (this.needsKey && !coded.unit.key) return;
    this.needsKey = false;
    const head = header({ ...coded, flags: coded.unit.key ? 1 : 0 });
    this.sequence += 1;
    const body =
      this.format === "fmp4" ? fragment(this.sequence, coded.unit, coded.mediaUs, coded.durationUs) : coded.unit.data;
    this.socket.send(Buffer.concat([head, body]));
  }
}

function header({ flags, epoch, mediaUs = 0, utcUs = 0, durationUs = 0 }) {
  const head = Buffer.alloc(40);
  head[0] = 1;
  head[1] = flags;
  head.writeUInt32LE(epoch, 4);
  head.writeBigUInt64LE(BigInt(mediaUs), 8);
  head.writeBigInt64LE(BigInt(utcUs), 16);
  head.writeUInt32LE(utcUs ? ERROR_US : 0xffffffff, 24);
  head.writeUInt32LE(durationUs, 28);
  head.writeBigInt64LE(BigInt(mediaUs), 32);
  return head;
}

/** Starts the box on a free port of the loopback interface. */
export async function startBox() {
  const units = await makeClip();
  const nal = (type) => units[0].nals.find((unit) => (unit[0] & 31) === type);
  const codec = codecOf(nal(7));
  const clip = { units, codec, avcC: avcConfig(nal(7), nal(8)), init: initSegment(nal(7), nal(8), WIDTH, HEIGHT) };
  const script = await bundle("e2e/player/page.mjs");
  const streams = new Map();
  const find = (name) => {
    if (!streams.has(name)) streams.set(name, new Stream(name, clip));
    return streams.get(name);
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://box");
    const [, what, name, kind] = pathname.split("/");
    if (pathname === "/page.js") response.setHeader("content-type", "text/javascript").end(script);
    else if (pathname === "/") response.setHeader("content-type", "text/html").end(PAGE);
    else if (what === "fault" && request.method === "POST") {
      find(name).fault(kind);
      response.writeHead(204).end();
    } else if (what === "live") {
      const stream = find(name);
      response.setHeader("content-type", "video/x-flv");
      stream.run();
      const viewer = new FlvViewer(response, stream, kind !== "stock");
      stream.viewers.add(viewer);
      request.on("close", () => {
        stream.viewers.delete(viewer);
        stream.rest();
      });
    } else response.writeHead(pathname === "/favicon.ico" ? 204 : 404).end();
  });
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, request) => {
    const url = new URL(request.url, "http://box");
    const [, , , , name, what] = url.pathname.split("/");
    const stream = find(name);
    socket.on("message", (text) => {
      const received = utcMs();
      const { type, t0 } = JSON.parse(text);
      if (type === "ping") socket.send(JSON.stringify({ type: "pong", t0, t1: received, t2: utcMs(), error_ms: 0.5 }));
    });
    if (what === "video") {
      stream.run();
      const viewer = new Viewer(socket, stream, url.searchParams.get("format"));
      stream.viewers.add(viewer);
      socket.on("close", () => {
        stream.viewers.delete(viewer);
        stream.rest();
      });
    } else {
      stream.run();
      stream.readers.add(socket);
      socket.send(JSON.stringify({ type: "joined", stream: name, latency_ms: stream.latency() }));
      for (const message of stream.recent) socket.send(JSON.stringify(message));
      const told = setInterval(() => {
        const latency = stream.latency();
        if (latency)
          socket.send(JSON.stringify({ type: "latency", stream: name, p50_ms: latency.p50, p99_ms: latency.p99 }));
      }, 1000);
      socket.on("close", () => {
        clearInterval(told);
        stream.readers.delete(socket);
        stream.rest();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    stream: find,
    close: () => {
      for (const client of sockets.clients) client.terminate();
      server.close();
    },
  };
}
