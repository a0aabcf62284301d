// Several streams side by side show one instant of UTC: each is held until the slowest of them can show it too.
//
//   lag = greatest of (when a stream can show a picture - when it was captured)      due = captured + lag
//
// Capture times are UTC of the box, seen through the browser's measured clock; their error is told, not hidden.

/** What a wall needs to know of a player. All in ms of the local monotonic clock, for media time 0. */
export interface Timing {
  /** When it was captured. */
  readonly capturedMs: number;
  /** When the player alone would show it. */
  readonly readyMs: number;
  /** How far `capturedMs` may be off. */
  readonly errorMs: number;
}

/** A player, as a wall sees it. */
export interface Member {
  timing(now: number): Timing | null;
  /** Show media time 0 at this time; null: as you like. */
  follow(offsetMs: number | null): void;
}

/** A change of the lag below this is not worth a change of speed, in ms. */
const CALM_MS = 10;
/** A stream that is later than this does not hold up the others: it goes alone. In ms. */
const MOST_MS = 3000;
/** Between two looks at the members, in ms. */
const LOOK_MS = 250;

/** The lag and who takes part; null where nobody can. Pure. */
export function plan(timings: readonly (Timing | null)[], before: number | null, mostMs = MOST_MS): number | null {
  let lag: number | null = null;
  for (const timing of timings) {
    if (!timing) continue;
    const needed = timing.readyMs - timing.capturedMs;
    if (needed > mostMs || needed < -mostMs) continue;
    if (lag === null || needed > lag) lag = needed;
  }
  if (lag !== null && before !== null && Math.abs(lag - before) < CALM_MS && lag <= before) return before;
  return lag;
}

export class Wall {
  private readonly members = new Set<Member>();
  private timer: ReturnType<typeof setInterval> | null = null;
  private lag: number | null = null;
  private error: number | null = null;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** How long after its capture every picture is shown, in ms; null while fewer than two streams can. */
  get lagMs(): number | null {
    return this.lag;
  }

  /** How far two pictures that are shown together may be apart for what the clocks do not know, in ms. */
  get errorMs(): number | null {
    return this.error;
  }

  add(member: Member): void {
    this.members.add(member);
    this.timer ??= setInterval(() => this.look(), LOOK_MS);
  }

  remove(member: Member): void {
    if (this.members.delete(member)) member.follow(null);
    if (this.members.size > 0 || this.timer === null) return;
    clearInterval(this.timer);
    this.timer = null;
    this.lag = null;
  }

  /** Looks at all members and tells each where to be. */
  look(): void {
    const now = this.now();
    const timings = [...this.members].map((member) => [member, member.timing(now)] as const);
    const able = timings.filter(([, timing]) => timing !== null).length;
    this.lag =
      able < 2
        ? null
        : plan(
            timings.map(([, timing]) => timing),
            this.lag,
          );
    this.error = null;
    for (const [member, timing] of timings) {
      const alone = this.lag === null || !timing || Math.abs(timing.readyMs - timing.capturedMs) > MOST_MS;
      member.follow(alone ? null : timing.capturedMs + (this.lag ?? 0));
      if (!alone && timing) this.error = Math.max(this.error ?? 0, 2 * timing.errorMs);
    }
  }
}
