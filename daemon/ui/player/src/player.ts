// A live picture of one stream in one canvas, with the boxes of the very frame that is shown.

import { type Path, paths } from "./capabilities.ts";
import { BoxClock } from "./clock.ts";
import { type Counts, Detections, type Found } from "./detections.ts";
import { DetectionsLink } from "./detections-link.ts";
import { FlvSource } from "./flv.ts";
import { Playout } from "./hold.ts";
import type { DetectionsMessage } from "./messages.ts";
import { type PlayerOptions, resolved, timeWriter } from "./options.ts";
import { Painter, pictureSize, type View } from "./painter.ts";
import { PicturesSource } from "./pictures.ts";
import { Recent } from "./quantile.ts";
import type { State } from "./session.ts";
import { SocketSource } from "./socket-source.ts";
import type { Source, SourceHost } from "./source.ts";
import { type Box, Tracks } from "./tracks.ts";
import type { Ready } from "./transport.ts";
import type { Member, Timing } from "./wall.ts";
import { WebRtcSource } from "./webrtc.ts";
import { type Capture, type FrameKey, keyText } from "./wire.ts";

/** A video that plays needs the next picture while it shows one, and steps of its own clock: in ms. */
const MSE_HOLD_MS = 40;
/** mpegts.js gives a picture on when the next has come, and works in turns of its own: in ms. */
const FLV_HOLD_MS = 90;

interface Drawn {
  boxes: readonly Box[];
  boxesAre: View["boxesAre"];
  boxesKey: string | null;
}

/** Pictures whose capture time a wall goes by. */
const CAPTURES = 61;

export interface Stats {
  path: string;
  state: State;
  reason: string | null;
  /** Pictures painted. */
  painted: number;
  /** How long pictures are held now and should be, in ms. */
  holdMs: number;
  wantedHoldMs: number;
  boxes: Counts;
  /** Passed over, dropped, failures, reconnects: as the source counts them. */
  source: Record<string, number>;
  /** How far this browser's clock may be from the box's, in ms; null before it was measured. */
  clockErrorMs: number | null;
  jumps: number;
}

export class Player implements Member {
  readonly options: ReturnType<typeof resolved>;
  readonly clock = new BoxClock();
  readonly playout: Playout;
  private readonly painter: Painter;
  private readonly detections = new Detections();
  private readonly tracks: Tracks;
  private readonly link: DetectionsLink | null;
  private ways: Path[];
  private source: Source;
  private state: State = "connecting";
  private reason: string | null = null;
  private view: View | null = null;
  private painted = 0;
  private frame: number | null = null;
  private paused = false;
  /** UTC of capture less media time, of the last pictures, in ms. */
  private readonly captures = new Recent(CAPTURES);
  private captureErrorMs: number | null = null;
  private inSight = true;
  private readonly sight: IntersectionObserver;
  private readonly onVisibility = () => this.watch();

  constructor(
    readonly canvas: HTMLCanvasElement,
    options: PlayerOptions,
  ) {
    this.options = resolved(options, globalThis.location?.href ?? "http://localhost/");
    this.playout = new Playout({ hold: this.options.hold, maxHoldMs: this.options.maxHoldMs, minHoldMs: 0 });
    this.tracks = new Tracks(this.options);
    this.painter = new Painter(canvas, this.options, () => this.repaint());
    this.link = this.options.detections
      ? new DetectionsLink(this.options.detections, this.detections, {
          result: (message, fresh, now) => this.result(message, fresh, now),
          latency: (p99) => this.playout.latency(p99),
          problem: (why) => this.options.onProblem(why),
        })
      : null;
    const { path } = this.options;
    this.ways = path === "auto" ? (this.options.flv ? ["flv"] : paths()) : [path];
    this.source = this.open(this.ways.shift() ?? "pictures");
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries.at(-1)?.isIntersecting ?? true;
      this.watch();
    });
    this.sight.observe(canvas);
    document.addEventListener("visibilitychange", this.onVisibility);
    this.source.start();
    if (this.source.path !== "pictures") this.link?.start();
    this.loop();
  }

  /** Stops on the picture that is shown; the stream goes on without it. */
  pause(): void {
    this.paused = true;
    this.source.pause(true);
  }

  /** Goes on with the live picture. */
  resume(): void {
    this.paused = false;
    this.source.pause(false);
  }

  get isPaused(): boolean {
    return this.paused;
  }

  /** The picture that is shown with its boxes, in the picture's own size. */
  snapshot(type = "image/png"): Promise<Blob> {
    if (!this.view) return Promise.reject(new Error("no picture is shown yet"));
    return this.painter.snapshot(this.view, this.trail, type);
  }

  /** Fills the screen with the element, the canvas by default. */
  async fullScreen(element: Element = this.canvas): Promise<void> {
    await element.requestFullscreen();
  }

  /** Holds pictures for this long, or for as long as the detector is measured to need. */
  setHold(hold: "auto" | number): void {
    this.playout.setHold(hold);
  }

  /** Changes what is drawn; seen at once. */
  draw(change: Partial<Pick<PlayerOptions, "boxes" | "labels" | "trails" | "captureTime" | "colour">>): void {
    const { captureTime, ...rest } = change;
    Object.assign(this.options, rest);
    if (captureTime !== undefined) this.options.captureTime = timeWriter(captureTime);
    this.repaint();
  }

  /** For a wall of several streams (wall.ts). */
  timing(now: number): Timing | null {
    const readyMs = this.playout.ownOffset();
    const captured = this.captures.quantile(0.5);
    const clock = this.clock.offsetMs(now);
    const error = this.clock.relativeErrorMs(now);
    if (this.state !== "playing" || readyMs === null || captured === null || clock === null || error === null)
      return null;
    return { capturedMs: captured - clock, readyMs, errorMs: error + (this.captureErrorMs ?? 0) };
  }

  follow(offsetMs: number | null): void {
    this.playout.follow(offsetMs);
  }

  /** What is on the canvas; null before the first picture. */
  get shown(): View | null {
    return this.view;
  }

  stats(): Stats {
    const now = performance.now();
    return {
      path: this.source.path,
      state: this.state,
      reason: this.reason,
      painted: this.painted,
      holdMs: this.playout.holdMs,
      wantedHoldMs: this.playout.wantedMs,
      boxes: { ...this.detections.counts },
      source: this.source.counts(),
      clockErrorMs: this.clock.relativeErrorMs(now),
      jumps: this.playout.jumps,
    };
  }

  close(): void {
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    this.frame = null;
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.sight.disconnect();
    this.link?.close();
    this.source.close();
    this.painter.close();
  }

  private open(path: Path): Source {
    const { options } = this;
    this.playout.setMinHold(path === "mse" ? MSE_HOLD_MS : path === "flv" ? FLV_HOLD_MS : 0);
    const host: SourceHost = {
      ready: () => this.step(performance.now()),
      state: (state, reason) => this.enter(state, reason),
      coded: (coded, now) => {
        this.playout.picture(coded.key.mediaUs / 1000, now);
        if (coded.capture) this.captures.add(coded.capture.utcMs - coded.key.mediaUs / 1000);
        this.captureErrorMs = coded.capture?.errorMs ?? null;
        this.options.onCoded(coded, now);
      },
      restart: () => this.restart(),
      pong: (sent, t1, t2, received, errorMs) => this.clock.exchange(sent, t1, t2, received, errorMs),
      giveUp: (why, sockets) => this.next(why, sockets),
    };
    if (path === "pictures") return new PicturesSource(options, host, (message) => this.detections.add(message));
    if (path === "flv") {
      if (!options.flv) throw new Error("the path flv wants the option `flv`: its url and mpegts.js");
      return new FlvSource({ ...options.flv, stream: options.stream }, this.playout, host);
    }
    if (path === "webrtc") return new WebRtcSource(options, this.playout, host);
    return new SocketSource(path, options, this.playout, host);
  }

  /** The way taken is not to be had: the next one. */
  private next(why: string, noSockets: boolean): void {
    this.options.onProblem(why);
    const left = noSockets ? this.ways.filter((way) => way === "pictures") : this.ways;
    const path = left.shift();
    this.ways = left;
    if (!path) {
      this.enter("failed", why);
      this.source.close();
      return;
    }
    this.source.close();
    this.restart();
    if (path === "pictures") this.link?.close();
    this.source = this.open(path);
    this.source.start();
    this.watch();
    if (this.paused) this.source.pause(true);
  }

  private restart(): void {
    this.playout.restart();
    this.captures.clear();
    this.tracks.clear();
  }

  private enter(state: State, reason: string | null): void {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.options.onState(state, reason);
  }

  private watch(): void {
    const yes = this.inSight && !document.hidden;
    this.source.visible(yes);
    this.link?.visible(yes);
  }

  private loop(): void {
    this.frame = requestAnimationFrame(() => {
      this.loop();
      this.step(performance.now());
    });
  }

  /** Paints the picture that is due, if one is. */
  private step(now: number): void {
    this.playout.update(now);
    const ready = this.source.take(now);
    if (!ready) return;
    if (this.paused && this.view) {
      ready.picture.close();
      return;
    }
    this.paint(ready, now);
  }

  private paint(taken: Ready, now: number): void {
    const matched = this.source.match?.(taken, this.detections);
    const ready = matched?.ready ?? taken;
    const found = matched?.approximate ? matched.found : this.detections.shown(ready.key, now);
    const boxes = this.boxesOf(ready.key, found);
    if (matched?.approximate && boxes.boxesAre === "exact") boxes.boxesAre = "approximate";
    this.painter.show(ready);
    this.view = { ...seen(ready), found: found.state, ...boxes };
    this.painter.paint(this.view, this.trail);
    this.painted += 1;
    this.options.onPainted(this.view, now);
  }

  private boxesOf(key: FrameKey, found: Found): Drawn {
    if (found.state === "exact") {
      const { message } = found;
      return { boxes: this.tracks.exact(message), boxesAre: "exact", boxesKey: message.key };
    }
    const { before, after } = this.detections.around(key);
    const boxes = this.tracks.predicted(key.mediaUs, before, after);
    return { boxes, boxesAre: boxes.length > 0 ? "predicted" : "none", boxesKey: null };
  }

  /** The element has another size, or what is drawn has changed. */
  private repaint(): void {
    if (this.view) this.painter.paint(this.view, this.trail);
  }

  private result(message: DetectionsMessage, fresh: boolean, now: number): void {
    const mediaMs = this.source.result?.(message) ?? message.media_us / 1000;
    if (fresh) this.playout.result(mediaMs, now);
    // Late, but its frame is still on the screen: the boxes are put on it now.
    if (
      this.view &&
      this.view.boxesAre !== "exact" &&
      this.view.boxesAre !== "approximate" &&
      keyText(this.view.key) === message.key
    ) {
      this.view = { ...this.view, found: "exact", ...this.boxesOf(this.view.key, { state: "exact", message }) };
      this.repaint();
      this.options.onPainted(this.view, now);
    }
  }

  private readonly trail = (id: number | null) => this.tracks.trail(id);
}

function seen(ready: Ready): { key: FrameKey; capture: Capture | null; width: number; height: number } {
  return { key: ready.key, capture: ready.capture, ...pictureSize(ready.picture) };
}
