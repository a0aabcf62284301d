// The canvas: shows one picture with what belongs to it, and shows it again when the element changes its size.

import type { Found } from "./detections.ts";
import { canvasSize, type DrawOptions, draw, type Scene } from "./draw.ts";
import type { Box } from "./tracks.ts";
import type { Ready } from "./transport.ts";
import type { Capture, FrameKey } from "./wire.ts";

/** What stands on the canvas now. */
export interface View {
  readonly key: FrameKey;
  readonly capture: Capture | null;
  /**
   * `exact`: the boxes are those of this very frame; `predicted`: it has none of its own, they follow its neighbours;
   * `approximate`: found by time on a stream that does not carry keys, and possibly those of another frame.
   */
  readonly boxesAre: "exact" | "predicted" | "approximate" | "none";
  /** What the detector said of this frame. */
  readonly found: Found["state"];
  /** Key of the result that the boxes come from; null where they are predicted or there are none. */
  readonly boxesKey: string | null;
  readonly boxes: readonly Box[];
  /** Size of the picture as it was decoded. */
  readonly width: number;
  readonly height: number;
}

export interface PainterOptions extends DrawOptions {
  /** `element`: as many pixels as the element has on this screen; `picture`: those of the picture. */
  resolution: "element" | "picture";
  /** Draws more into the same commit, after the boxes. */
  overlay: ((context: CanvasRenderingContext2D, view: View) => void) | null;
}

export class Painter {
  private readonly context: CanvasRenderingContext2D;
  private shown: Ready | null = null;
  private readonly resized: ResizeObserver;

  constructor(
    readonly canvas: HTMLCanvasElement,
    readonly options: PainterOptions,
    private readonly repaint: () => void,
  ) {
    const context = canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("this canvas has another kind of context already: give the player one of its own");
    this.context = context;
    this.resized = new ResizeObserver(() => this.repaint());
    this.resized.observe(canvas);
  }

  /** The picture that is on the canvas. */
  get picture(): Ready | null {
    return this.shown;
  }

  /** Shows a picture; it is the painter's from now on. */
  show(ready: Ready): void {
    if (this.shown && this.shown !== ready) this.shown.picture.close();
    this.shown = ready;
  }

  /** Draws the picture with what belongs to it, in one go. */
  paint(view: View, trail: Scene["trail"]): void {
    if (!this.shown) return;
    const { canvas, context, options } = this;
    const ratio = globalThis.devicePixelRatio || 1;
    const wanted =
      options.resolution === "picture"
        ? { width: view.width, height: view.height }
        : canvasSize(view, { width: canvas.clientWidth, height: canvas.clientHeight }, ratio);
    if (canvas.width !== wanted.width || canvas.height !== wanted.height) Object.assign(canvas, wanted);
    const scene: Scene = { picture: this.shown.picture, boxes: view.boxes, trail, capture: view.capture };
    draw(context, wanted, scene, options, options.resolution === "picture" ? 1 : ratio);
    options.overlay?.(context, view);
  }

  /** The picture in its own size with its boxes, as an image. */
  async snapshot(view: View, trail: Scene["trail"], type: string): Promise<Blob> {
    if (!this.shown) throw new Error("no picture is shown yet");
    const canvas = new OffscreenCanvas(view.width, view.height);
    const context = canvas.getContext("2d");
    if (!context) throw new Error("the browser has no canvas to draw a snapshot on");
    const scene: Scene = { picture: this.shown.picture, boxes: view.boxes, trail, capture: view.capture };
    draw(context, view, scene, this.options, Math.max(1, view.width / 960));
    return canvas.convertToBlob({ type });
  }

  close(): void {
    this.resized.disconnect();
    this.shown?.picture.close();
    this.shown = null;
  }
}

/** Width and height of a decoded picture. */
export function pictureSize(picture: VideoFrame | ImageBitmap): { width: number; height: number } {
  return picture instanceof ImageBitmap
    ? { width: picture.width, height: picture.height }
    : { width: picture.displayWidth, height: picture.displayHeight };
}
