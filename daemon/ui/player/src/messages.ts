// The text messages of the video and the detections sockets (docs/reference/live.md). Pure.

import { WireError } from "./wire.ts";

/** What the video socket says first, and again whenever any of it changes. */
export interface StreamMessage {
  type: "stream";
  stream: string;
  epoch: number;
  format: "h264" | "fmp4" | "keys";
  /** As RFC 6381 names it: `avc1.64001f`. */
  codec: string;
  width: number;
  height: number;
  fps: number | null;
  /** Why the box encoded anew, null where the camera's own stream is passed through. */
  transcoded: string | null;
  /** For Media Source Extensions. */
  mime?: string;
}

export interface PongMessage {
  type: "pong";
  t0: number;
  /** Box UTC in ms when the ping arrived, and when this answer left. */
  t1: number;
  t2: number;
  /** Bound of the box's own UTC. */
  error_ms: number | null;
}

export type VideoMessage =
  | StreamMessage
  | { type: "gap"; reason: string }
  | { type: "waiting"; reason: string }
  | { type: "error"; title: string; detail: string }
  | PongMessage;

/** One box, in pixels of the frame that its message gives the size of. */
export interface Detection {
  /** Track id: the same object keeps it from frame to frame. */
  id: number | null;
  x: number;
  y: number;
  width: number;
  height: number;
  confidence: number;
  class: string;
}

export interface DetectionsMessage {
  type: "detections";
  stream: string;
  /** Media time in ms: floor(media_us / 1000). */
  timestamp: number;
  frame_id: number | null;
  key: string;
  epoch: number;
  media_us: number;
  capture: { utc: string; error_ms: number | null; source: string } | null;
  width: number;
  height: number;
  detections: Detection[];
}

export interface Latency {
  p50: number;
  p99: number;
}

export type DetectionsSocketMessage =
  | DetectionsMessage
  | { type: "joined"; stream: string; latency_ms: Latency | null }
  | { type: "skipped"; stream: string; keys: string[] }
  | { type: "latency"; stream: string; p50_ms: number; p99_ms: number }
  | { type: "lost"; count: number }
  | { type: "left"; stream: string }
  | { type: "error"; title?: string; detail?: string };

function parse(text: string): Record<string, unknown> & { type: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new WireError(`a message is not JSON: ${text.slice(0, 80)}`);
  }
  if (typeof value !== "object" || value === null || !("type" in value) || typeof value.type !== "string") {
    throw new WireError(`a message has no type: ${text.slice(0, 80)}`);
  }
  return value as Record<string, unknown> & { type: string };
}

function wants(message: Record<string, unknown>, fields: Record<string, "number" | "string" | "object">): void {
  for (const [name, kind] of Object.entries(fields)) {
    if (typeof message[name] !== kind || message[name] === null) {
      throw new WireError(`message ${String(message.type)}: \`${name}\` is no ${kind}`);
    }
  }
}

/** A text message of the video socket; null for a type that this player does not know, which is to be ignored. */
export function readVideoMessage(text: string): VideoMessage | null {
  const message = parse(text);
  switch (message.type) {
    case "stream":
      wants(message, { stream: "string", epoch: "number", format: "string", codec: "string" });
      break;
    case "pong":
      wants(message, { t0: "number", t1: "number", t2: "number" });
      break;
    case "gap":
    case "waiting":
    case "error":
      break;
    default:
      return null;
  }
  return message as unknown as VideoMessage;
}

/** A text message of the detections socket; null for a type that this player does not know. */
export function readDetectionsMessage(text: string): DetectionsSocketMessage | null {
  const message = parse(text);
  switch (message.type) {
    case "detections":
      wants(message, { key: "string", epoch: "number", media_us: "number", detections: "object" });
      wants(message, { width: "number", height: "number" });
      break;
    case "skipped":
      wants(message, { keys: "object" });
      break;
    case "latency":
      wants(message, { p50_ms: "number", p99_ms: "number" });
      break;
    case "lost":
      wants(message, { count: "number" });
      break;
    case "joined":
    case "left":
    case "error":
      break;
    default:
      return null;
  }
  return message as unknown as DetectionsSocketMessage;
}
