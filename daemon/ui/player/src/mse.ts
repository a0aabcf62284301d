// Coded pictures to decoded ones by Media Source Extensions, which work without a secure context: fMP4 into a <video> that
// nobody sees, each picture of it copied out with its own media time. Held in coded form by the element itself.

import { chase, type Range } from "./chaser.ts";
import type { Playout } from "./hold.ts";
import type { StreamMessage } from "./messages.ts";
import { type Ready, type Transport, type TransportCounts, type TransportHost, Underway } from "./transport.ts";
import { VideoFrames } from "./video-frames.ts";
import type { Coded } from "./wire.ts";

/** What was played is kept for this long, in s. */
const KEPT_S = 4;
/** Removing is dear: done when this much more has gathered, in s. */
const SPARE_S = 6;
/** Coded bytes that wait for the element to take them. */
const QUEUE_BYTES = 16 * 1024 * 1024;
/** A video that shows nothing new for so long although there is more in its buffer is begun anew, in ms. */
const STUCK_MS = 5000;
/** It is only looked at while the page is drawn: a longer pause between two looks says nothing, in ms. */
const AWAY_MS = 1000;
/** Changes of speed smaller than this are left out: each one costs a turn through the browser's player. */
const RATE_STEP = 0.01;

declare global {
  var ManagedMediaSource: typeof MediaSource | undefined;
}

export class MseTransport implements Transport {
  readonly format = "fmp4";
  readonly counts: TransportCounts = { passed: 0, dropped: 0, failures: 0 };

  private readonly underway = new Underway(1024);
  private epoch = -1;
  private mime = "";
  private pipe: Pipe | null = null;

  constructor(
    private readonly playout: Playout,
    private readonly host: TransportHost,
  ) {}

  stream(message: StreamMessage): void {
    const mime = message.mime ?? `video/mp4; codecs="${message.codec}"`;
    const source = globalThis.MediaSource ?? globalThis.ManagedMediaSource;
    if (!source?.isTypeSupported(mime)) {
      this.host.broken(`the browser does not play ${mime}`, true);
      return;
    }
    if (this.pipe && this.epoch === message.epoch && this.mime === mime) return;
    this.epoch = message.epoch;
    this.mime = mime;
    this.begin(source);
  }

  push(coded: Coded, _now: number): void {
    if (coded.key.epoch !== this.epoch || !this.pipe) {
      this.counts.dropped += 1;
      return;
    }
    if (!coded.initSegment) this.underway.add(coded);
    if (!this.pipe.append(coded.data)) {
      this.counts.failures += 1;
      this.host.broken("the browser's player is full or failed", this.counts.failures >= 10);
    }
  }

  take(now: number): Ready | null {
    const pipe = this.pipe;
    if (!pipe) return null;
    const position = this.playout.position(now);
    if (position !== null) pipe.steer(position / 1000);
    const frame = pipe.frames.take();
    pipe.watch(frame !== null, now);
    if (!frame) return null;
    const sent = this.underway.find(frame.timestamp);
    if (!sent) {
      // No picture of this time was sent: its key is not known, and it is not shown under another.
      this.counts.failures += 1;
      frame.close();
      return null;
    }
    return { key: sent.key, picture: frame, capture: sent.capture };
  }

  reset(): void {
    // The next picture comes with a new init segment or a new epoch; until then the element would play the old ones.
    this.underway.clear();
    this.pipe?.close();
    this.pipe = null;
    this.epoch = -1;
  }

  close(): void {
    this.reset();
  }

  private begin(source: typeof MediaSource): void {
    this.pipe?.close();
    this.underway.clear();
    const pipe: Pipe = new Pipe(source, this.mime, {
      ready: () => this.host.ready(),
      failed: (why) => {
        if (this.pipe !== pipe) return;
        this.counts.failures += 1;
        this.host.broken(why, this.counts.failures >= 10);
      },
    });
    this.pipe = pipe;
  }
}

/** One <video> with its source, for one epoch of one codec. */
class Pipe {
  readonly video = document.createElement("video");
  readonly frames: VideoFrames;
  private readonly media: MediaSource;
  private readonly url: string;
  private buffer: SourceBuffer | null = null;
  private queue: Uint8Array[] = [];
  private queued = 0;
  private begun = false;
  private closed = false;
  /** When it last showed something new or had nothing to show, and when it was last looked at. */
  private well: number | null = null;
  private looked = 0;

  constructor(
    source: typeof MediaSource,
    mime: string,
    private readonly host: { ready: () => void; failed: (why: string) => void },
  ) {
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.disableRemotePlayback = true;
    this.media = new source();
    this.url = URL.createObjectURL(this.media);
    this.media.addEventListener("sourceopen", () => this.open(mime), { once: true });
    this.video.addEventListener("error", () => this.fail(this.video.error?.message ?? "the video failed"));
    this.video.src = this.url;
    this.frames = new VideoFrames(this.video, host.ready);
  }

  append(data: Uint8Array): boolean {
    if (this.closed || this.queued + data.byteLength > QUEUE_BYTES) return false;
    this.queue.push(data);
    this.queued += data.byteLength;
    this.feed();
    return true;
  }

  /** Moves the video towards `wanted`, in s of media time. */
  steer(wanted: number): void {
    const ranges = this.ranges();
    const first = ranges[0];
    if (!first || this.closed) return;
    if (!this.begun) {
      this.begun = true;
      this.video.currentTime = Math.max(first[0], Math.min(wanted, ranges.at(-1)?.[1] ?? wanted));
      // Refused without a gesture of the user only where there is sound; and the next picture tries again.
      this.video.play().catch(() => {
        this.begun = false;
      });
      return;
    }
    if (this.video.seeking) return;
    const { rate, seek } = chase(this.video.currentTime, wanted, ranges);
    if (seek !== null) this.video.currentTime = seek;
    if (Math.abs(this.video.playbackRate - rate) >= RATE_STEP || (rate === 1 && this.video.playbackRate !== 1)) {
      this.video.playbackRate = rate;
    }
  }

  /** Finds a video that hangs: `shown` says whether it has just given a picture. */
  watch(shown: boolean, now: number): void {
    const away = now - this.looked > AWAY_MS;
    this.looked = now;
    const { currentTime, readyState, seeking, paused } = this.video;
    const end = this.ranges().at(-1)?.[1] ?? 0;
    const nothing = this.queue.length === 0 && end - currentTime < STUCK_MS / 1000;
    if (shown || away || nothing || this.well === null) {
      this.well = now;
    } else if (now - this.well > STUCK_MS) {
      this.well = now;
      const state = `at ${currentTime} of ${end} s, state ${readyState}${seeking ? ", seeking" : ""}${paused ? ", paused" : ""}`;
      this.fail(`the browser's player shows nothing new: ${state}`);
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.frames.close();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.url);
    this.queue = [];
  }

  private ranges(): Range[] {
    const buffered = this.video.buffered;
    return Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)] as const);
  }

  private open(mime: string): void {
    if (this.closed) return;
    try {
      // Live: the player keeps no pictures back.
      this.media.duration = Number.POSITIVE_INFINITY;
      this.buffer = this.media.addSourceBuffer(mime);
    } catch (error) {
      this.fail(String(error));
      return;
    }
    this.buffer.addEventListener("updateend", () => this.feed());
    this.feed();
  }

  private feed(): void {
    const { buffer } = this;
    if (this.closed || !buffer || buffer.updating || this.media.readyState !== "open") return;
    try {
      const old = this.video.currentTime - KEPT_S;
      const first = this.begun ? this.ranges()[0]?.[0] : undefined;
      if (first !== undefined && first < old - SPARE_S) {
        buffer.remove(0, old);
        return;
      }
      const next = this.queue.length > 1 ? joined(this.queue, this.queued) : this.queue[0];
      if (!next) return;
      this.queue = [];
      this.queued = 0;
      buffer.appendBuffer(next as Uint8Array<ArrayBuffer>);
    } catch (error) {
      this.fail(String(error));
    }
  }

  private fail(why: string): void {
    if (!this.closed) this.host.failed(why);
  }
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
