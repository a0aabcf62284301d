// Pings over a video socket: the box's clock is measured by the answers.

/** Between pings: close together at first, as the first answers are the ones that time is shown by; in ms. */
const PINGS_MS = [0, 100, 250, 500, 1000];
const PING_MS = 2000;

export class Pings {
  private count = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly send: (message: object) => void) {}

  /** Begins anew, with a new connection. */
  start(): void {
    this.count = 0;
    this.ping();
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private ping(): void {
    this.stop();
    this.send({ type: "ping", t0: performance.now() });
    const wait = PINGS_MS[this.count] ?? PING_MS;
    this.count += 1;
    this.timer = setTimeout(() => this.ping(), wait);
  }
}
