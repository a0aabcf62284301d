// Where a <video> that plays a live stream should be, and how fast it should go to be there. Pure; all in seconds.

/** What is nearer than this is there: half a picture at 60 fps. */
const NEAR_S = 0.008;
/** Changes of speed that nobody sees. */
const MOST = 0.08;
/** Farther off than this there is hurry, as after a start: in s. */
const HURRY_S = 0.08;
const MOST_HURRY = 0.3;
/** Speed for each second of distance. */
const GAIN = 1.5;
/** Farther off than this is sought, not chased. */
const SEEK_S = 0.5;
/** Not the very end of what is there: a video that reaches it stalls. */
const END_S = 0.001;

export interface Step {
  rate: number;
  /** null: no seek. */
  seek: number | null;
}

export type Range = readonly [start: number, end: number];

/** `at`: where the video is; `wanted`: where it should be; `ranges`: what is buffered, in order. */
export function chase(at: number, wanted: number, ranges: readonly Range[]): Step {
  const last = ranges.at(-1);
  const first = ranges[0];
  if (!first || !last) return { rate: 1, seek: null };
  const within = ranges.find(([start, end]) => at >= start - END_S && at <= end + END_S);
  const target = ranges.find(([start, end]) => wanted >= start && wanted <= end) ?? last;
  const place = Math.min(Math.max(wanted, target[0]), Math.max(target[0], target[1] - END_S));
  // A hole lies between, or nothing is there.
  if (within !== target) {
    return Math.abs(place - at) < END_S || place < at
      ? { rate: 1, seek: within ? null : place }
      : { rate: 1, seek: place };
  }
  const away = wanted - at;
  if (Math.abs(away) > SEEK_S && Math.abs(place - at) > NEAR_S) return { rate: 1, seek: place };
  if (Math.abs(away) < NEAR_S) return { rate: 1, seek: null };
  const most = Math.abs(away) > HURRY_S ? MOST_HURRY : MOST;
  return { rate: 1 + Math.max(-most, Math.min(most, away * GAIN)), seek: null };
}
