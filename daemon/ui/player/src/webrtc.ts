// Pictures by WebRTC: through networks that lose packets, and from outside. The box names each picture by its RTP time over a
// socket beside (docs/reference/keys.md), so that what the browser decodes has an exact key.

import type { Playout } from "./hold.ts";
import { Link } from "./link.ts";
import { readVideoMessage, type VideoMessage } from "./messages.ts";
import { Pings } from "./pings.ts";
import { type Named, RtpFrames } from "./rtp-frames.ts";
import type { SocketOptions } from "./socket-source.ts";
import type { Source, SourceHost } from "./source.ts";
import type { Ready } from "./transport.ts";
import { WhepSession } from "./whep.ts";
import { type Coded, readCoded, WireError } from "./wire.ts";

/** Pictures whose RTP time is remembered: 15 s at 60 fps, more than a browser ever holds. */
const MOST = 900;
/** What the browser takes to decode and show, besides its jitter buffer: in ms. */
const OWN_MS = 20;
/** The longest that a jitter buffer may be told to hold (W3C webrtc-extensions, jitterBufferTarget): in ms. */
const MAX_TARGET_MS = 4000;
/** A change of the jitter buffer's target below this is not worth a change of speed: in ms. */
const CALM_MS = 10;
/** A connection that shows nothing for this long while the box sends is made anew: in ms. */
const SILENCE_MS = 10_000;

export class WebRtcSource implements Source {
  readonly path = "webrtc";
  private readonly link: Link;
  private readonly pings: Pings;
  private readonly named = new RtpKeys(MOST);
  private readonly video = document.createElement("video");
  private session: WhepSession | null = null;
  private receiver: RTCRtpReceiver | null = null;
  private frames: RtpFrames | null = null;
  /** A picture whose key has not come yet. */
  private pending: Named | null = null;
  private epoch: number | null = null;
  private targetMs: number | null = null;
  private seenAt = 0;
  private closed = false;
  private readonly tally = { passed: 0, unnamed: 0, sessions: 0 };

  constructor(
    private readonly options: SocketOptions,
    private readonly playout: Playout,
    private readonly host: SourceHost,
  ) {
    this.video.muted = true;
    this.video.playsInline = true;
    const { sockets, stream } = options;
    this.link = new Link(`${sockets}/streams/${encodeURIComponent(stream)}/video?format=keys`, {
      opened: () => this.pings.start(),
      text: (message, at) => this.guard(() => this.text(message, at)),
      binary: (message, at) => this.guard(() => this.binary(message, at)),
      state: (state, reason) => {
        if (state === "hidden" || state === "paused" || state === "closed") this.finish();
        if (state === "reconnecting" || state === "closed") this.pings.stop();
        host.state(state, reason);
      },
      // Without keys no picture has a name.
      lost: () => this.finish(),
    });
    this.pings = new Pings((message) => this.link.send(message));
  }

  start(): void {
    const able = typeof RTCPeerConnection === "function" && typeof VideoFrame === "function";
    if (!able || !this.video.requestVideoFrameCallback) {
      this.host.giveUp("this browser has no WebRTC whose pictures can be named", false);
      return;
    }
    this.link.handle({ type: "start" });
  }

  visible(yes: boolean): void {
    this.link.handle({ type: "visible", yes });
  }

  pause(yes: boolean): void {
    this.link.handle({ type: yes ? "pause" : "resume" });
  }

  take(now: number): Ready | null {
    this.steer();
    const newest = this.frames?.take();
    if (newest) {
      this.drop();
      this.pending = newest;
      this.seenAt = now;
    }
    const picture = this.pending;
    if (!picture) return null;
    const sent = this.named.find(picture.rtp);
    // Its key comes by another way, maybe a moment later.
    if (!sent) return null;
    this.pending = null;
    this.link.handle({ type: "picture" });
    return { key: sent.key, picture: picture.frame, capture: sent.capture };
  }

  close(): void {
    this.closed = true;
    this.pings.stop();
    this.link.handle({ type: "close" });
    this.finish();
  }

  counts(): Record<string, number> {
    const { unnamed, ...tally } = this.tally;
    return {
      ...tally,
      unnamed: unnamed + (this.frames?.unnamed ?? 0),
      reconnects: this.link.session.reconnects,
    };
  }

  /** The browser holds coded pictures for as long as the playout wants. */
  private steer(): void {
    const { receiver } = this;
    if (!receiver || !("jitterBufferTarget" in receiver)) return;
    const wanted = Math.min(Math.max(0, this.playout.holdMs - OWN_MS), MAX_TARGET_MS);
    if (this.targetMs !== null && Math.abs(wanted - this.targetMs) < CALM_MS) return;
    this.targetMs = wanted;
    receiver.jitterBufferTarget = wanted;
  }

  private begin(epoch: number): void {
    this.finish();
    this.epoch = epoch;
    this.tally.sessions += 1;
    this.seenAt = performance.now();
    const { api, stream } = this.options;
    const session = new WhepSession(`${api}/streams/${encodeURIComponent(stream)}/whep`, {
      media: (media, receiver) => {
        if (this.session !== session) return;
        this.receiver = receiver;
        this.video.srcObject = media;
        this.frames = new RtpFrames(this.video, () => this.host.ready());
        // Refused without a gesture of the user only where there is sound.
        this.video.play().catch(() => {});
      },
      ended: (why, fate) => {
        if (this.session !== session) return;
        this.finish();
        if (this.closed) return;
        if (fate === "never") this.host.giveUp(why, false);
        else this.renew(why, fate === "refused");
      },
    });
    this.session = session;
    session.start();
  }

  private finish(): void {
    this.session?.close();
    this.session = null;
    this.receiver = null;
    this.targetMs = null;
    this.tally.unnamed += this.frames?.unnamed ?? 0;
    this.frames?.close();
    this.frames = null;
    this.drop();
    this.video.srcObject = null;
    this.named.clear();
    this.epoch = null;
  }

  /** Lets go of a picture whose key never came. */
  private drop(): void {
    if (!this.pending) return;
    this.tally.passed += 1;
    this.pending.frame.close();
    this.pending = null;
  }

  private guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.renew(error instanceof Error ? error.message : String(error));
    }
  }

  private renew(why: string, slowly = false): void {
    this.finish();
    this.link.renew(why, slowly);
  }

  private text(text: string, at: number): void {
    const message = readVideoMessage(text);
    if (message) this.message(message, at);
  }

  private message(message: VideoMessage, at: number): void {
    switch (message.type) {
      case "stream":
        // A session begins with the first picture.
        this.link.handle({ type: "heard" });
        break;
      case "pong":
        this.link.handle({ type: "heard" });
        this.host.pong(message.t0, message.t1, message.t2, at, message.error_ms);
        break;
      case "gap":
      case "waiting":
        this.link.handle(message);
        break;
      case "error":
        this.link.handle({ type: "error", detail: message.detail || message.title });
    }
  }

  private binary(message: ArrayBuffer, at: number): void {
    const coded = readCoded(this.options.stream, message);
    this.link.handle({ type: "heard" });
    const { state } = this.link.session;
    if (state === "hidden" || state === "paused") return;
    // A session shows one epoch: media time begins anew with the next.
    if (!this.session || this.epoch !== coded.key.epoch) {
      this.host.restart();
      this.begin(coded.key.epoch);
    }
    this.host.coded(coded, at);
    this.named.add(rtpOf(coded), coded);
    const epoch = this.session?.epoch ?? this.epoch;
    if (epoch !== this.epoch) throw new Error("another epoch began in the meantime");
    if (at - this.seenAt > SILENCE_MS) throw new Error("no picture came for too long");
  }
}

/** The RTP time that stands in place of a picture in the messages of `format=keys`. */
export function rtpOf(coded: Coded): number {
  const { data } = coded;
  if (data.byteLength !== 4) throw new WireError(`an RTP time has 4 bytes, not ${data.byteLength}`);
  return new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
}

/** Keys by RTP time; bounded. */
export class RtpKeys {
  private readonly byTime = new Map<number, Coded>();

  /** `most`: pictures that are remembered. */
  constructor(private readonly most: number) {}

  add(rtp: number, coded: Coded): void {
    this.byTime.delete(rtp);
    this.byTime.set(rtp, coded);
    if (this.byTime.size <= this.most) return;
    const oldest = this.byTime.keys().next().value;
    if (oldest !== undefined) this.byTime.delete(oldest);
  }

  find(rtp: number): Coded | undefined {
    return this.byTime.get(rtp);
  }

  clear(): void {
    this.byTime.clear();
  }
}
