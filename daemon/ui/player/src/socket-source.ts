// Pictures by the box's video socket, decoded by WebCodecs or Media Source Extensions.

import { decodes } from "./capabilities.ts";
import type { Playout } from "./hold.ts";
import { Link } from "./link.ts";
import { readVideoMessage, type StreamMessage, type VideoMessage } from "./messages.ts";
import { MseTransport } from "./mse.ts";
import { Pings } from "./pings.ts";
import type { State } from "./session.ts";
import type { Source, SourceHost } from "./source.ts";
import type { Ready, Transport } from "./transport.ts";
import { WebCodecsTransport } from "./webcodecs.ts";
import { readCoded } from "./wire.ts";

/** This many connections in a row that were never made: the box may have no such socket. */
const NEVER_OPENED = 2;
const now = () => performance.now();

export interface SocketOptions {
  /** Address of the API: `wss://box/api/v1`. */
  sockets: string;
  /** The same over HTTP: `https://box/api/v1`. */
  api: string;
  stream: string;
}

export class SocketSource implements Source {
  private readonly link: Link;
  private readonly transport: Transport;
  private current: StreamMessage | null = null;
  private readonly pings = new Pings((message) => this.link.send(message));
  private closed = false;

  constructor(
    readonly path: "webcodecs" | "mse",
    private readonly options: SocketOptions,
    playout: Playout,
    private readonly host: SourceHost,
  ) {
    const transportHost = {
      ready: () => host.ready(),
      broken: (why: string, giveUp: boolean) => (giveUp ? this.giveUp(why) : this.link.renew(why)),
    };
    this.transport =
      path === "webcodecs"
        ? new WebCodecsTransport(playout, transportHost, now)
        : new MseTransport(playout, transportHost);
    const url = `${options.sockets}/streams/${encodeURIComponent(options.stream)}/video?format=${this.transport.format}`;
    this.link = new Link(url, {
      opened: () => this.opened(),
      text: (message, at) => this.guard(() => this.text(message, at)),
      binary: (message, at) => this.guard(() => this.binary(message, at)),
      state: (state, reason) => this.state(state, reason),
      lost: (neverOpened) => {
        if (neverOpened >= NEVER_OPENED) void this.askWhetherThere();
      },
    });
  }

  start(): void {
    this.link.handle({ type: "start" });
  }

  visible(yes: boolean): void {
    this.link.handle({ type: "visible", yes });
  }

  pause(yes: boolean): void {
    this.link.handle({ type: yes ? "pause" : "resume" });
  }

  take(at: number): Ready | null {
    return this.transport.take(at);
  }

  close(): void {
    this.closed = true;
    this.pings.stop();
    this.link.handle({ type: "close" });
    this.transport.close();
  }

  counts(): Record<string, number> {
    return { ...this.transport.counts, reconnects: this.link.session.reconnects };
  }

  private opened(): void {
    this.current = null;
    this.pings.start();
  }

  private state(state: State, reason: string | null): void {
    // Pinged for as long as there is a connection; the next one begins with pings of its own.
    if (state === "reconnecting" || state === "closed") this.pings.stop();
    this.host.state(state, reason);
  }

  /** A refused WebSocket does not say why: the API does. */
  private async askWhetherThere(): Promise<void> {
    try {
      const answer = await fetch(`${this.options.api}/streams`, { signal: AbortSignal.timeout(5000) });
      if (answer.status === 404 && !this.closed) this.giveUp("this box has no live video sockets", true);
    } catch {
      // Not reachable at all: the link tries again.
    }
  }

  private giveUp(why: string, sockets = false): void {
    if (!this.closed) this.host.giveUp(why, sockets);
  }

  /** What does not follow the contract ends the connection, and is told; nothing else. */
  private guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.link.renew(error instanceof Error ? error.message : String(error));
    }
  }

  private text(text: string, at: number): void {
    const message = readVideoMessage(text);
    if (message) this.message(message, at);
  }

  private message(message: VideoMessage, at: number): void {
    switch (message.type) {
      case "stream":
        this.link.handle({ type: "heard" });
        this.changed(message);
        break;
      case "pong":
        this.link.handle({ type: "heard" });
        this.host.pong(message.t0, message.t1, message.t2, at, message.error_ms);
        break;
      case "gap":
      case "waiting":
        this.link.handle(message);
        break;
      case "error":
        this.link.handle({ type: "error", detail: message.detail || message.title });
    }
  }

  private changed(message: StreamMessage): void {
    const before = this.current;
    this.current = message;
    if (!before || before.epoch !== message.epoch) {
      this.host.restart();
      this.transport.reset();
    }
    this.transport.stream(message);
    if (this.path === "webcodecs" && before?.codec !== message.codec) {
      void decodes(message.codec).then((yes) => {
        if (!yes && this.current === message) this.giveUp(`WebCodecs does not decode ${message.codec} here`);
      });
    }
  }

  private binary(message: ArrayBuffer, at: number): void {
    const coded = readCoded(this.options.stream, message);
    if (!this.current) throw new Error("a picture came before the stream was described");
    if (!coded.initSegment) {
      this.link.handle({ type: "picture" });
      this.host.coded(coded, at);
    }
    this.transport.push(coded, at);
  }
}
