// The browser's clock against the box's UTC, by NTP's four stamps over the socket (RFC 5905, section 8). Pure.
//
// The exchange with the least delay is believed: queues only ever add to the delay, and the error is at most half of it.

/** Two crystals drift apart by no more than this: ±50 ppm each, the bound of ordinary ones. */
const DRIFT = 100e-6;
/** Exchanges that are remembered. */
const KEPT = 32;

interface Exchange {
  at: number;
  offsetMs: number;
  /** Half the round trip and the box's own bound. */
  halfMs: number;
  boxErrorMs: number | null;
}

export class BoxClock {
  private kept: Exchange[] = [];
  /** Times the box's clock was seen to jump. */
  steps = 0;

  /**
   * One exchange. `sent` and `received` are of the local monotonic clock in ms; `t1` and `t2` the box's UTC in ms when it
   * received and answered; `boxErrorMs` the box's own bound.
   */
  exchange(sent: number, t1: number, t2: number, received: number, boxErrorMs: number | null): void {
    const delay = received - sent - (t2 - t1);
    if (![sent, t1, t2, received].every(Number.isFinite) || delay < 0) return;
    const now: Exchange = {
      at: received,
      offsetMs: (t1 - sent + (t2 - received)) / 2,
      halfMs: delay / 2,
      boxErrorMs,
    };
    const best = this.best(received);
    // Two intervals that do not meet: the box's clock was set.
    if (best && Math.abs(best.offsetMs - now.offsetMs) > this.bound(best, received) + now.halfMs) {
      this.kept = [];
      this.steps += 1;
    }
    this.kept.push(now);
    if (this.kept.length > KEPT) this.kept.shift();
  }

  /** Local monotonic ms + this = UTC ms of the box; null before the first exchange. */
  offsetMs(now: number): number | null {
    return this.best(now)?.offsetMs ?? null;
  }

  /** How far `offsetMs` may be from the box's clock. */
  relativeErrorMs(now: number): number | null {
    const best = this.best(now);
    return best ? this.bound(best, now) : null;
  }

  /** How far local time, seen through the offset, may be from UTC; null while the box does not know UTC. */
  errorMs(now: number): number | null {
    const best = this.best(now);
    return best && best.boxErrorMs !== null ? this.bound(best, now) + best.boxErrorMs : null;
  }

  private bound(exchange: Exchange, now: number): number {
    return exchange.halfMs + (now - exchange.at) * DRIFT;
  }

  private best(now: number): Exchange | null {
    let best: Exchange | null = null;
    for (const exchange of this.kept) {
      if (!best || this.bound(exchange, now) <= this.bound(best, now)) best = exchange;
    }
    return best;
  }
}
