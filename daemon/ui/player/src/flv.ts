// HTTP-FLV (or FLV over WebSocket) by mpegts.js, which the page brings along. With this box's server it is exact: onMetaData
// says which stream, which epoch and which timestamp the stream begins with, and a picture's timestamp plus that is the
// one of its result. With a stock server the base is lost, and matching is approximate; the player's path says so.

import { APPROXIMATE, ApproximateBuffer, type ApproximateOptions } from "./approximate.ts";
import { chase, type Range } from "./chaser.ts";
import type { Detections, Found } from "./detections.ts";
import type { Playout } from "./hold.ts";
import type { DetectionsMessage } from "./messages.ts";
import type { Source, SourceHost } from "./source.ts";
import type { Ready } from "./transport.ts";
import { VideoFrames } from "./video-frames.ts";

/** What is used of mpegts.js. */
export interface Mpegts {
  createPlayer(media: object, config: object): MpegtsPlayer;
  Events: Record<string, string>;
  isSupported(): boolean;
}
interface MpegtsPlayer {
  on(event: string, listener: (...values: unknown[]) => void): void;
  attachMediaElement(video: HTMLMediaElement): void;
  load(): void;
  destroy(): void;
}

export interface FlvOptions extends Partial<ApproximateOptions> {
  /** The module, as `import mpegts from "mpegts.js"` gives it. */
  mpegts: Mpegts;
  url: string;
  /** `exact` refuses a stream whose onMetaData does not say where it begins; `approximate` never asks for it. */
  mode?: "auto" | "exact" | "approximate";
  /** Reads the number of a frame that the sender has put into the SEI `user_data_unregistered`; null when it is none. */
  frameNumber?: (uuid: Uint8Array, data: Uint8Array) => number | null;
}

/** Without a picture for this long the stream is fetched anew, in ms. */
const SILENCE_MS = 8000;
const RETRY_MS = 2000;
/** 32 bits of milliseconds: the timestamps of FLV wrap after 49.7 days. */
const WRAP_MS = 2 ** 32;
/** Frame numbers that are remembered. */
const NUMBERS = 300;

interface Base {
  epoch: number;
  timestampMs: number;
}

export class FlvSource implements Source {
  private player: MpegtsPlayer | null = null;
  private frames: VideoFrames | null = null;
  private readonly video = document.createElement("video");
  private readonly buffer: ApproximateBuffer;
  private readonly numbers = new Map<number, number>();
  private base: Base | null = null;
  private end = 0;
  private heardAt = 0;
  private watch: ReturnType<typeof setInterval> | null = null;
  private reconnects = 0;
  private held = { visible: true, paused: false };

  constructor(
    private readonly options: FlvOptions & { stream: string },
    private readonly playout: Playout,
    private readonly host: SourceHost,
  ) {
    this.buffer = new ApproximateBuffer({ ...APPROXIMATE, ...options });
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get path(): string {
    return this.exact ? "flv" : "flv (approximate)";
  }

  private get exact(): boolean {
    return this.options.mode !== "approximate" && this.base !== null;
  }

  start(): void {
    if (!this.options.mpegts.isSupported()) {
      this.host.giveUp("mpegts.js does not work in this browser", false);
      return;
    }
    this.host.state("connecting", null);
    this.begin();
    this.watch = setInterval(() => this.look(), RETRY_MS);
  }

  visible(yes: boolean): void {
    this.held.visible = yes;
    this.follow();
  }

  pause(yes: boolean): void {
    this.held.paused = yes;
    this.follow();
  }

  take(now: number): Ready | null {
    this.steer(now);
    const frame = this.frames?.take();
    if (!frame) return null;
    this.host.state("playing", null);
    const playedMs = Math.round(frame.timestamp / 1000);
    const { base } = this;
    const timestampMs = (playedMs + (base?.timestampMs ?? 0)) % WRAP_MS;
    const key = { stream: this.options.stream, epoch: base?.epoch ?? 0, mediaUs: timestampMs * 1000 };
    return { key, picture: frame, capture: null, timestampMs, playedMs };
  }

  /** What is known of a picture, and the key of it, by timestamp. */
  match(ready: Ready, store: Detections): { found: Found; ready: Ready; approximate: boolean } {
    const { timestampMs = 0, playedMs = 0 } = ready;
    if (this.exact) {
      const key = store.stamped(ready.key.epoch, timestampMs);
      const known = key === null ? ready : { ...ready, key: { ...ready.key, mediaUs: key } };
      return { found: store.find(known.key), ready: known, approximate: false };
    }
    const number = this.numbers.get(playedMs);
    const message = number === undefined ? this.buffer.nearest(playedMs) : this.buffer.numbered(number);
    const found: Found = message ? { state: "exact", message } : { state: "pending" };
    return { found, ready, approximate: number === undefined };
  }

  result(message: DetectionsMessage): number {
    this.buffer.add(message);
    return message.timestamp - (this.exact ? (this.base?.timestampMs ?? 0) : this.buffer.options.startOffsetMs);
  }

  close(): void {
    if (this.watch !== null) clearInterval(this.watch);
    this.watch = null;
    this.finish();
    this.host.state("closed", null);
  }

  counts(): Record<string, number> {
    return { reconnects: this.reconnects };
  }

  private begin(): void {
    const { mpegts, url, mode } = this.options;
    const player = mpegts.createPlayer(
      { type: "flv", isLive: true, url, hasAudio: false },
      // Nothing is kept back, and the distance to the live edge is the player's business.
      { enableStashBuffer: false, liveBufferLatencyChasing: false, autoCleanupSourceBuffer: true, enableWorker: false },
    );
    this.player = player;
    this.heardAt = performance.now();
    player.on(mpegts.Events.SCRIPTDATA_ARRIVED ?? "", (data) => this.described(data));
    player.on(mpegts.Events.METADATA_ARRIVED ?? "", (data) => this.described(data));
    player.on(mpegts.Events.SEI_ARRIVED ?? "", (sei) => this.sei(sei));
    player.on(mpegts.Events.ERROR ?? "", (...why) => this.renew(why.map(String).join(" ")));
    player.attachMediaElement(this.video);
    player.load();
    this.frames = new VideoFrames(this.video, () => this.host.ready());
    this.video.play().catch(() => {
      // Refused until there is data; the first picture asks again (steer).
    });
    if (mode === "approximate") this.base = null;
  }

  private finish(): void {
    this.frames?.close();
    this.frames = null;
    this.player?.destroy();
    this.player = null;
    this.base = null;
    this.end = 0;
    this.numbers.clear();
  }

  private renew(why: string): void {
    if (!this.player) return;
    this.finish();
    this.reconnects += 1;
    this.host.state("reconnecting", why);
    this.host.restart();
  }

  private look(): void {
    const rests = !this.held.visible || this.held.paused;
    if (rests) return;
    if (!this.player) this.begin();
    else if (performance.now() - this.heardAt > SILENCE_MS) this.renew("no picture came for too long");
  }

  private follow(): void {
    const { visible, paused } = this.held;
    if (!visible || paused) {
      this.finish();
      this.host.restart();
      this.host.state(paused ? "paused" : "hidden", null);
    } else if (!this.player && this.watch !== null) {
      this.host.state("connecting", null);
      this.begin();
    }
  }

  private described(data: unknown): void {
    const found = baseOf(data);
    if (!found || this.options.mode === "approximate") {
      if (this.options.mode === "exact" && !found)
        this.host.giveUp("this FLV stream does not say where it begins", false);
      return;
    }
    if (found.stream !== this.options.stream) {
      this.host.giveUp(`this FLV stream is that of ${found.stream}, not of ${this.options.stream}`, false);
      return;
    }
    this.base = found;
  }

  private sei(sei: unknown): void {
    const read = this.options.frameNumber;
    if (!read || typeof sei !== "object" || sei === null) return;
    const { uuid, user_data, pts } = sei as { uuid?: Uint8Array; user_data?: Uint8Array; pts?: number };
    if (!uuid || !user_data || pts === undefined) return;
    const number = read(uuid, user_data);
    if (number === null) return;
    this.numbers.set(Math.round(pts), number);
    if (this.numbers.size <= NUMBERS) return;
    const oldest = this.numbers.keys().next().value;
    if (oldest !== undefined) this.numbers.delete(oldest);
  }

  private steer(now: number): void {
    const { buffered } = this.video;
    const ranges: Range[] = Array.from(
      { length: buffered.length },
      (_, i) => [buffered.start(i), buffered.end(i)] as const,
    );
    const end = ranges.at(-1)?.[1] ?? 0;
    if (end > this.end) {
      this.end = end;
      this.heardAt = now;
      // The end of what is buffered is the arrival of a picture, as near as it can be seen from here.
      this.playout.picture(end * 1000, now);
    }
    const position = this.playout.position(now);
    if (position === null || ranges.length === 0 || this.video.seeking) return;
    if (this.video.paused) this.video.play().catch(() => {});
    const { rate, seek } = chase(this.video.currentTime, position / 1000, ranges);
    if (seek !== null) this.video.currentTime = seek;
    if (Math.abs(this.video.playbackRate - rate) >= 0.01) this.video.playbackRate = rate;
  }
}

/** Where a stream begins, as this box's onMetaData says it; null for others. */
export function baseOf(data: unknown): (Base & { stream: string }) | null {
  if (typeof data !== "object" || data === null) return null;
  const meta = "onMetaData" in data ? data.onMetaData : data;
  if (typeof meta !== "object" || meta === null) return null;
  const { stream, epoch, timestampBase } = meta as Record<string, unknown>;
  if (typeof stream !== "string" || typeof epoch !== "number" || typeof timestampBase !== "number") return null;
  return { stream, epoch, timestampMs: timestampBase };
}
