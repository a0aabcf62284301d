// Single pictures, asked for one after the other: what is left where a browser can neither WebCodecs nor Media Source
// Extensions, or a box has no video socket. Each comes with its key and its own boxes.

import type { DetectionsMessage } from "./messages.ts";
import type { Source, SourceHost } from "./source.ts";
import type { Ready } from "./transport.ts";
import type { Capture } from "./wire.ts";

/** At most eight pictures a second. */
const GAP_MS = 125;
/** Wait after a failure. */
const PAUSE_MS = 1500;
const PATIENCE_MS = 10_000;

/** The header `synoptic-frame` of a picture. */
interface FrameDoc {
  key: string;
  seq: number;
  capture: { utc: string; error_ms: number | null; source: string };
  detections: { track: number | null; label: string; score: number; bbox: [number, number, number, number] }[] | null;
}

export interface PicturesOptions {
  /** Address of the API: `https://box/api/v1`. */
  api: string;
  stream: string;
  /** What the stream is: single pictures of panoramas have an address of their own. */
  kind: "camera" | "panorama";
}

export class PicturesSource implements Source {
  readonly path = "pictures";
  private readonly stop = new AbortController();
  private ready: Ready | null = null;
  private watched = { visible: true, paused: false };
  private wake: (() => void) | null = null;
  private failures = 0;

  constructor(
    private readonly options: PicturesOptions,
    private readonly host: SourceHost,
    private readonly tell: (message: DetectionsMessage) => void,
  ) {}

  start(): void {
    this.host.state("connecting", null);
    void this.run();
  }

  visible(yes: boolean): void {
    this.watched.visible = yes;
    if (!yes) this.host.state("hidden", null);
    this.wake?.();
  }

  pause(yes: boolean): void {
    this.watched.paused = yes;
    if (yes) this.host.state("paused", null);
    this.wake?.();
  }

  take(): Ready | null {
    const ready = this.ready;
    this.ready = null;
    return ready;
  }

  close(): void {
    this.stop.abort();
    this.wake?.();
    this.take()?.picture.close();
    this.host.state("closed", null);
  }

  counts(): Record<string, number> {
    return { failures: this.failures };
  }

  private async run(): Promise<void> {
    let tag = "";
    while (!this.stop.signal.aborted) {
      await this.awaited();
      if (this.stop.signal.aborted) return;
      const began = performance.now();
      try {
        tag = await this.once(tag);
        await this.pause_(Math.max(0, GAP_MS - (performance.now() - began)));
      } catch (error) {
        if (this.stop.signal.aborted) return;
        this.failures += 1;
        tag = "";
        this.host.state("reconnecting", error instanceof Error ? error.message : String(error));
        await this.pause_(PAUSE_MS);
      }
    }
  }

  private async once(tag: string): Promise<string> {
    const signal = AbortSignal.any([this.stop.signal, AbortSignal.timeout(PATIENCE_MS)]);
    const { api, kind, stream } = this.options;
    const address = `${api}/${kind}s/${encodeURIComponent(stream)}/picture`;
    const headers: HeadersInit = tag ? { "if-none-match": tag } : {};
    const response = await fetch(address, { signal, headers, cache: "no-store" });
    if (response.status === 304) return tag;
    if (response.status === 204) {
      this.host.state("waiting", "there is no picture yet");
      throw new Error("there is no picture yet");
    }
    if (response.status !== 200) throw new Error(`the box answered ${response.status}`);
    const frame: FrameDoc | null = JSON.parse(response.headers.get("synoptic-frame") ?? "null");
    if (!frame) throw new Error("the picture came without its key");
    const picture = await createImageBitmap(await response.blob());
    if (this.stop.signal.aborted) {
      picture.close();
      return tag;
    }
    const message = toMessage(frame);
    this.tell(message);
    this.take()?.picture.close();
    const capture: Capture = { utcMs: Date.parse(frame.capture.utc), errorMs: frame.capture.error_ms };
    this.ready = {
      key: { stream: this.options.stream, epoch: message.epoch, mediaUs: message.media_us },
      picture,
      capture: Number.isFinite(capture.utcMs) ? capture : null,
    };
    this.host.state("playing", null);
    this.host.ready();
    return response.headers.get("etag") ?? "";
  }

  private pause_(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const signal = this.stop.signal;
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
      signal.addEventListener("abort", done);
    });
  }

  private awaited(): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!this.stop.signal.aborted && (!this.watched.visible || this.watched.paused)) return;
        this.wake = null;
        resolve();
      };
      this.wake = check;
      check();
    });
  }
}

/** A picture's own boxes, as the detections socket would have sent them. */
export function toMessage(frame: FrameDoc): DetectionsMessage {
  const [, epoch, mediaUs] = frame.key.split("/").map(Number);
  return {
    type: "detections",
    stream: frame.key.split("/")[0] ?? "",
    timestamp: Math.floor((mediaUs ?? 0) / 1000),
    frame_id: frame.seq,
    key: frame.key,
    epoch: epoch ?? 0,
    media_us: mediaUs ?? 0,
    capture: frame.capture,
    width: 1,
    height: 1,
    detections: (frame.detections ?? []).map(({ track, label, score, bbox: [x, y, width, height] }) => ({
      id: track,
      x,
      y,
      width,
      height,
      confidence: score,
      class: label,
    })),
  };
}
