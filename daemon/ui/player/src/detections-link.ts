// The detections socket of one stream: results by key, into a store.

import type { Detections } from "./detections.ts";
import { Link } from "./link.ts";
import { type DetectionsMessage, readDetectionsMessage } from "./messages.ts";

/** What was buffered for who joins late comes at once; its arrival says nothing of the detector. In ms after joining. */
const REPLAY_MS = 1000;
/** A stream without a detector says nothing: whether the box is still there is asked for, in ms. */
const PING_MS = 3000;

export interface DetectionsHost {
  /** A result, as fresh as the detector gives them. */
  result(message: DetectionsMessage, fresh: boolean, now: number): void;
  latency(p99Ms: number): void;
  problem(why: string): void;
}

export class DetectionsLink {
  private readonly link: Link;
  private joinedAt = Number.POSITIVE_INFINITY;
  private pinger: ReturnType<typeof setInterval> | null = null;

  constructor(
    url: string,
    private readonly store: Detections,
    private readonly host: DetectionsHost,
  ) {
    this.link = new Link(url, {
      opened: () => {},
      text: (text, now) => {
        try {
          this.text(text, now);
        } catch (error) {
          this.host.problem(error instanceof Error ? error.message : String(error));
        }
      },
      binary: () => this.host.problem("the detections socket sent a binary message, which the contract does not have"),
      state: () => {},
      lost: () => {},
    });
  }

  start(): void {
    this.link.handle({ type: "start" });
    this.pinger = setInterval(() => this.link.send({ type: "ping", t0: performance.now() }), PING_MS);
  }

  visible(yes: boolean): void {
    this.link.handle({ type: "visible", yes });
  }

  close(): void {
    if (this.pinger !== null) clearInterval(this.pinger);
    this.link.handle({ type: "close" });
  }

  private text(text: string, now: number): void {
    this.link.handle({ type: "heard" });
    const message = readDetectionsMessage(text);
    switch (message?.type) {
      case "joined":
        this.joinedAt = now;
        if (message.latency_ms) this.host.latency(message.latency_ms.p99);
        break;
      case "detections":
        this.store.add(message);
        this.host.result(message, now - this.joinedAt > REPLAY_MS, now);
        break;
      case "skipped":
        this.store.skip(message.keys);
        break;
      case "latency":
        this.host.latency(message.p99_ms);
        break;
      case "lost":
        this.store.lose(message.count);
        break;
      case "error":
        this.host.problem(message.detail ?? message.title ?? "the detections socket failed");
    }
  }
}
