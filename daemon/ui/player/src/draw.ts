// One picture and its boxes into one canvas, in one task of the page: the browser commits them together or not at all.

import type { Box } from "./tracks.ts";
import type { Capture } from "./wire.ts";

export interface DrawOptions {
  boxes: boolean;
  labels: boolean;
  trails: boolean;
  /** Writes the capture time on the picture; null for none. */
  captureTime: ((capture: Capture) => string) | null;
  /** The name of a class for people. */
  name: (label: string) => string;
  colour: string;
  /** Colour of text on `colour`. */
  ink: string;
}

/** What is drawn. */
export interface Scene {
  readonly picture: CanvasImageSource;
  readonly boxes: readonly Box[];
  readonly trail: (id: number | null) => readonly (readonly [number, number])[];
  readonly capture: Capture | null;
}

export type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** The size of a canvas in device pixels: the picture's shape, as large as the element shows it, no larger than of use. */
export function canvasSize(
  picture: { width: number; height: number },
  element: { width: number; height: number },
  ratio: number,
): { width: number; height: number } {
  const { width, height } = picture;
  const fit = Math.min(
    element.width > 0 ? element.width / width : 1,
    element.height > 0 ? element.height / height : Number.POSITIVE_INFINITY,
  );
  const scale = fit * Math.min(Math.max(ratio, 1), 3);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** Draws a scene over the whole of a canvas. `ratio`: device pixels in a pixel of the page. */
export function draw(
  context: Context,
  size: { width: number; height: number },
  scene: Scene,
  options: DrawOptions,
  ratio: number,
): void {
  context.drawImage(scene.picture, 0, 0, size.width, size.height);
  if (options.trails) for (const box of scene.boxes) trail(context, size, scene.trail(box.id), options, ratio);
  if (options.boxes) for (const box of scene.boxes) outline(context, size, box, options, ratio);
  if (options.captureTime && scene.capture) stamp(context, size, options.captureTime(scene.capture), ratio);
}

type Size = { width: number; height: number };

function outline(context: Context, size: Size, box: Box, options: DrawOptions, ratio: number): void {
  const [x, y] = [box.x * size.width, box.y * size.height];
  context.lineWidth = 2 * ratio;
  context.strokeStyle = options.colour;
  // A box that was not seen but predicted is drawn dashed, so that nobody takes it for one that was.
  context.setLineDash(box.predicted ? [6 * ratio, 4 * ratio] : []);
  context.beginPath();
  context.roundRect(x, y, box.width * size.width, box.height * size.height, 4 * ratio);
  context.stroke();
  context.setLineDash([]);
  if (!options.labels) return;
  const track = box.id === null ? "" : ` ${box.id}`;
  const text = `${options.name(box.label)}${track} · ${Math.round(box.confidence * 100)}%`;
  context.font = `600 ${11 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const tall = 18 * ratio;
  const wide = context.measureText(text).width + 10 * ratio;
  const left = Math.max(0, Math.min(x - ratio, size.width - wide));
  const top = y >= tall + 2 * ratio ? y - tall - ratio : y + ratio;
  context.fillStyle = options.colour;
  context.beginPath();
  context.roundRect(left, top, wide, tall, 4 * ratio);
  context.fill();
  context.fillStyle = options.ink;
  context.fillText(text, left + 5 * ratio, top + tall / 2 + 0.5 * ratio);
}

function trail(
  context: Context,
  size: Size,
  points: readonly (readonly [number, number])[],
  options: DrawOptions,
  ratio: number,
): void {
  const [first, ...rest] = points;
  if (!first || rest.length === 0) return;
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = options.colour;
  context.globalAlpha = 0.7;
  context.beginPath();
  context.moveTo(first[0] * size.width, first[1] * size.height);
  for (const [x, y] of rest) context.lineTo(x * size.width, y * size.height);
  context.stroke();
  context.globalAlpha = 1;
}

function stamp(context: Context, size: Size, text: string, ratio: number): void {
  context.font = `500 ${12 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const tall = 20 * ratio;
  const wide = context.measureText(text).width + 14 * ratio;
  const left = Math.max(0, size.width - wide - 8 * ratio);
  const top = size.height - tall - 8 * ratio;
  context.fillStyle = "rgb(6 12 15 / 88%)";
  context.beginPath();
  context.roundRect(left, top, wide, tall, 5 * ratio);
  context.fill();
  context.fillStyle = "#f2f7f9";
  context.fillText(text, left + 7 * ratio, top + tall / 2 + 0.5 * ratio);
}
