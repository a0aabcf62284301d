// The states of a player, and when it connects, waits, gives up and tries again. Pure: events in, actions out.

export type State =
  /** The socket is being opened, or no picture has come over it yet. */
  | "connecting"
  | "playing"
  /** The box has left pictures out; the next one is a key picture. */
  | "gap"
  /** Connected; the camera gives no pictures now. */
  | "waiting"
  /** The connection is lost; another try follows. */
  | "reconnecting"
  /** Nobody looks: the tab is hidden, or the element is out of sight. */
  | "hidden"
  | "paused"
  /** The box says that it will not do; no further try. */
  | "failed"
  | "closed";

export type Event =
  | { type: "start" }
  | { type: "opened" }
  | { type: "picture" }
  | { type: "gap" }
  | { type: "waiting"; reason: string }
  /** Anything at all came from the box. */
  | { type: "heard" }
  | { type: "error"; detail: string }
  | { type: "lost"; code: number; reason: string }
  | { type: "visible"; yes: boolean }
  | { type: "pause" }
  | { type: "resume" }
  | { type: "close" };

export type Action = "connect" | "disconnect";

/** Waits before the tries to connect again, in ms; each is varied by ±25 %. */
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
/** Pongs come every two seconds: this long without anything is a lost connection. */
const SILENCE_MS = 8000;
/** A hidden player keeps its connection for a moment: tabs are flipped through. */
const LINGER_MS = 4000;
/** The stream is not known to the box, or the box refuses: trying again soon is of no use, but it may come. */
const SLOW_RETRY_MS = 15_000;
const NOT_FOUND = 4404;
/** The close code of a refusal (RFC 6455 section 7.4.1). */
export const POLICY = 1008;

export class Session {
  state: State = "connecting";
  /** Why it waits or failed, in the words of the box. */
  reason: string | null = null;
  /** Connections that were lost. */
  reconnects = 0;
  /** Tries in a row at which not even a connection was made. */
  neverOpened = 0;

  private readonly actions: Action[] = [];
  private connected = false;
  private opened = false;
  private visible = true;
  private paused = false;
  private tries = 0;
  private timer: { at: number; what: "retry" | "silence" | "linger" } | null = null;

  constructor(private readonly random: () => number) {}

  handle(event: Event, now: number): void {
    if (this.state === "closed" || (this.state === "failed" && event.type !== "close")) return;
    switch (event.type) {
      case "start":
        this.connect(now);
        break;
      case "opened":
        this.opened = true;
        this.neverOpened = 0;
        this.hear(now);
        break;
      case "heard":
        this.tries = 0;
        this.hear(now);
        break;
      case "picture":
        this.tries = 0;
        this.reason = null;
        if (this.watched) this.state = "playing";
        this.hear(now);
        break;
      case "gap":
        if (this.watched) this.state = "gap";
        this.hear(now);
        break;
      case "waiting":
        this.tries = 0;
        this.reason = event.reason;
        if (this.watched) this.state = "waiting";
        this.hear(now);
        break;
      case "error":
        this.reason = event.detail;
        break;
      case "lost":
        this.lose(event.code, event.reason, now);
        break;
      case "visible":
        this.visible = event.yes;
        this.watch(now);
        break;
      case "pause":
      case "resume":
        this.paused = event.type === "pause";
        this.watch(now);
        break;
      case "close":
        this.drop();
        this.timer = null;
        this.state = "closed";
    }
  }

  /** What is to be done now; null when nothing more is. */
  poll(): Action | null {
    return this.actions.shift() ?? null;
  }

  /** When to call `tick`; null: only after the next event. */
  deadline(): number | null {
    return this.timer?.at ?? null;
  }

  tick(now: number): void {
    const due = this.timer;
    if (!due || now < due.at) return;
    this.timer = null;
    if (due.what === "retry") this.connect(now);
    else if (due.what === "linger") this.drop();
    else {
      this.drop();
      this.lose(0, "nothing was heard for too long", now);
    }
  }

  private get watched(): boolean {
    return this.visible && !this.paused;
  }

  private connect(now: number): void {
    if (this.connected) return;
    this.connected = true;
    this.opened = false;
    if (this.watched) this.state = this.reconnects > 0 ? "reconnecting" : "connecting";
    this.actions.push("connect");
    this.timer = { at: now + SILENCE_MS, what: "silence" };
  }

  private drop(): void {
    if (!this.connected) return;
    this.connected = false;
    this.actions.push("disconnect");
  }

  private hear(now: number): void {
    if (this.connected && this.timer?.what !== "linger") this.timer = { at: now + SILENCE_MS, what: "silence" };
  }

  private lose(code: number, reason: string, now: number): void {
    this.connected = false;
    if (!this.opened) this.neverOpened += 1;
    this.opened = false;
    this.reconnects += 1;
    if (!this.watched) {
      this.timer = null;
      return;
    }
    if (reason) this.reason = reason;
    this.state = "reconnecting";
    const step = BACKOFF_MS[Math.min(this.tries, BACKOFF_MS.length - 1)] ?? 8000;
    this.tries += 1;
    const wait = code === NOT_FOUND || code === POLICY ? SLOW_RETRY_MS : step;
    this.timer = { at: now + wait * (0.75 + 0.5 * this.random()), what: "retry" };
  }

  private watch(now: number): void {
    if (this.watched) {
      if (this.timer?.what === "linger") this.timer = null;
      if (this.connected) {
        // Until the next picture says that it plays.
        this.state = "connecting";
        this.hear(now);
      } else {
        this.tries = 0;
        this.connect(now);
      }
      return;
    }
    this.state = this.paused ? "paused" : "hidden";
    this.timer = this.connected ? { at: now + LINGER_MS, what: "linger" } : null;
  }
}
