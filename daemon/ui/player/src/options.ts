// What can be chosen about a player, and what is chosen where nothing is said.

import type { Path } from "./capabilities.ts";
import type { FlvOptions } from "./flv.ts";
import type { View } from "./painter.ts";
import type { State } from "./session.ts";
import type { Capture, Coded } from "./wire.ts";

export interface PlayerOptions {
  /** The camera or panorama. */
  stream: string;
  /** What the stream is, where single pictures are all that a browser can show; `camera` by default. */
  kind?: "camera" | "panorama";
  /** Address of the box's API; `/api/v1` of this page's own host by default. */
  api?: string;
  /** `auto`: the best way that this browser has. */
  path?: Path | "auto";
  /** Plays an HTTP-FLV stream instead of the box's sockets. */
  flv?: FlvOptions | null;
  /**
   * How long pictures are held so that their boxes are there in time: `auto` (the measured p99 of the detector), or ms.
   * 0 shows pictures at once; boxes then appear on the few frames whose result was as quick.
   */
  hold?: "auto" | number;
  /** Never hold longer than this, in ms. */
  maxHoldMs?: number;
  /** Whether results are asked for at all; without, pictures are shown at once. */
  detect?: boolean;
  boxes?: boolean;
  labels?: boolean;
  trails?: boolean;
  /** Points of a trail. */
  trail?: number;
  /** Share of a track's new box in the smoothed one, such as 0.3; null draws boxes as they were found. */
  smoothing?: number | null;
  /** Boxes, dashed, on frames that the detector has passed over, from the results around them. */
  predict?: boolean;
  /** Writes the capture time on the picture; true for UTC with its bound. */
  captureTime?: boolean | ((capture: Capture) => string);
  name?: (label: string) => string;
  colour?: string;
  ink?: string;
  resolution?: "element" | "picture";
  overlay?: ((context: CanvasRenderingContext2D, view: View) => void) | null;
  onState?: (state: State, reason: string | null) => void;
  /** After each change of the canvas; `now` of `performance.now()`. */
  onPainted?: (view: View, now: number) => void;
  /** A coded picture arrived. */
  onCoded?: (coded: Coded, now: number) => void;
  /** Something is wrong that the player goes on without. */
  onProblem?: (why: string) => void;
}

/** UTC with milliseconds and its bound: `14:02:11.345 ± 3 ms`. */
export function utcText(capture: Capture): string {
  const time = new Date(capture.utcMs).toISOString().slice(11, 23);
  return capture.errorMs === null
    ? `${time} ± ?`
    : `${time} ± ${capture.errorMs.toFixed(capture.errorMs < 10 ? 1 : 0)} ms`;
}

/** How the capture time is written, of what was asked for. */
export function timeWriter(wish: PlayerOptions["captureTime"]): ((capture: Capture) => string) | null {
  return wish === true ? utcText : wish === false || wish === undefined ? null : wish;
}

/** The options with nothing left open. `page`: the address of the page, which relative ones start from. */
export function resolved(options: PlayerOptions, page: string) {
  const api = new URL(options.api ?? "/api/v1", page).href.replace(/\/$/, "");
  const sockets = api.replace(/^http/, "ws");
  const { detect = true } = options;
  const nothing = () => {};
  return {
    path: "auto" as const,
    kind: "camera" as const,
    flv: null,
    hold: detect ? ("auto" as const) : 0,
    maxHoldMs: 1000,
    boxes: true,
    labels: true,
    trails: false,
    trail: 40,
    smoothing: null,
    predict: true,
    name: (label: string) => label,
    colour: "#35d0ba",
    ink: "#06201d",
    resolution: "element" as const,
    overlay: null,
    onState: nothing,
    onPainted: nothing,
    onCoded: nothing,
    onProblem: nothing,
    ...defined(options),
    captureTime: timeWriter(options.captureTime),
    api,
    sockets,
    detections: detect ? `${sockets}/streams/${encodeURIComponent(options.stream)}/detections` : null,
  } satisfies Record<string, unknown> as Resolved;
}

type Resolved = Required<Omit<PlayerOptions, "captureTime" | "detect">> & {
  captureTime: ((capture: Capture) => string) | null;
  sockets: string;
  detections: string | null;
};

/** Without what was given as undefined, which would stand in the way of the defaults. */
function defined(options: PlayerOptions): Partial<PlayerOptions> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
