// Draws the last minute of a sync group: each camera's phase within the packets above, the spread below.

import type { SyncStatus } from "./documents";
import { type History, niceLimit, phaseReach, type Sample, WINDOW_S } from "./history";

export interface PlotTexts {
  phase: string;
  spread: string;
  limit: string;
  wait: string;
  ago: (seconds: number) => string;
}

/** Colours of cameras, in the order of the group; CSS has them for light and dark. */
export const SERIES = 6;

interface Panel {
  top: number;
  height: number;
  low: number;
  high: number;
}

const LEFT = 40;
const RIGHT = 10;
const TITLE = 20;
const FOOT = 20;

export function drawPlot(
  canvas: HTMLCanvasElement,
  history: History | undefined,
  group: SyncStatus,
  texts: PlotTexts,
  clock: number,
): void {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  if (!context || width < 80 || height < 80) return;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";

  const samples = history?.samples ?? [];
  const now = history?.now(clock) ?? 0;
  const x = (at: number) => width - RIGHT - ((now - at) / (WINDOW_S * 1000)) * (width - LEFT - RIGHT);
  const free = height - 2 * TITLE - FOOT - 6;
  const reach = niceLimit(1.15 * phaseReach(samples));
  const phase: Panel = { top: TITLE, height: free * 0.62, low: -reach, high: reach };
  // A frame may lie the tolerance away from the instant on either side.
  const limit = 2 * group.tolerance_ms;
  const spreads = samples.map((sample) => sample.spread ?? 0);
  const high = Math.max(1.12 * limit, 1.05 * Math.max(0, ...spreads));
  const spread: Panel = { top: TITLE + phase.height + 6 + TITLE, height: free * 0.38, low: 0, high };
  const y = (panel: Panel, value: number) =>
    panel.top + panel.height * (1 - (value - panel.low) / (panel.high - panel.low));

  const grid = (panel: Panel, values: readonly number[], title: string) => {
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillStyle = colour("--muted");
    context.fillText(title, LEFT, panel.top - 7);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (const value of values) {
      const at = Math.round(y(panel, value)) + 0.5;
      context.strokeStyle = value === 0 ? colour("--axis") : colour("--grid");
      context.beginPath();
      context.moveTo(LEFT, at);
      context.lineTo(width - RIGHT, at);
      context.stroke();
      context.fillText(number(value), LEFT - 6, at);
    }
  };
  grid(phase, [-reach, -reach / 2, 0, reach / 2, reach], texts.phase);
  grid(
    spread,
    [0, niceLimit(limit / 2)].filter((value) => value < high),
    texts.spread,
  );

  context.textBaseline = "alphabetic";
  for (let s = 0; s <= WINDOW_S; s += width < 420 ? 30 : 15) {
    context.textAlign = s === 0 ? "right" : s === WINDOW_S ? "left" : "center";
    context.fillText(texts.ago(s), x(now - s * 1000), height - 5);
  }

  const edge = Math.round(y(spread, limit)) + 0.5;
  context.setLineDash([4, 4]);
  context.strokeStyle = colour("--warn");
  context.beginPath();
  context.moveTo(LEFT, edge);
  context.lineTo(width - RIGHT, edge);
  context.stroke();
  context.setLineDash([]);
  context.fillStyle = colour("--warn");
  context.textAlign = "right";
  context.fillText(`${texts.limit} ${number(limit)}`, width - RIGHT, edge - 4);

  if (samples.length < 2) {
    context.fillStyle = colour("--muted");
    context.textAlign = "center";
    context.font = "13px system-ui, sans-serif";
    context.fillText(texts.wait, LEFT + (width - LEFT - RIGHT) / 2, phase.top + phase.height / 2 - 8);
    return;
  }

  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT - RIGHT, height);
  context.clip();
  context.lineJoin = "round";

  // A pause in the packets is a gap, not a line.
  const apart = (index: number) => {
    const [before, here] = [samples[index - 1], samples[index]];
    return !before || !here || here.at - before.at > 1500;
  };

  const line = (panel: Panel, value: (sample: Sample) => number | null) => {
    context.beginPath();
    let pen = false;
    samples.forEach((sample, index) => {
      const here = value(sample);
      if (here !== null) {
        const [px, py] = [x(sample.at), y(panel, here)];
        if (pen && !apart(index)) context.lineTo(px, py);
        else context.moveTo(px, py);
      }
      pen = here !== null;
    });
    context.stroke();
  };

  context.strokeStyle = colour("--accent");
  context.lineWidth = 1.5;
  line(spread, (sample) => sample.spread);

  group.members.forEach((member, index) => {
    const own = colour(`--series-${index % SERIES}`);
    context.strokeStyle = own;
    context.lineWidth = 1.8;
    line(phase, (sample) => sample.phases.get(member.cam) ?? null);
    // Packets without this camera, as ticks at the bottom of the panel.
    context.fillStyle = own;
    for (const sample of samples) {
      if (sample.phases.has(member.cam) && sample.phases.get(member.cam) === null) {
        context.fillRect(x(sample.at) - 1, phase.top + phase.height - 7 - 5 * (index % SERIES), 2, 6);
      }
    }
  });
  context.restore();
}

function number(value: number): string {
  const size = Math.abs(value);
  const text = size >= 10 ? size.toFixed(0) : size.toFixed(size < 1 && size > 0 ? 2 : 1).replace(/\.0$/, "");
  return value < 0 ? `−${text}` : text;
}
