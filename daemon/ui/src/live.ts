// The players of the page: one for each camera and panorama, all on one wall, so that what stands side by side is one instant.

import { Player, type PlayerOptions, Wall } from "synoptic-player";

const wall = new Wall();
/** By stream. */
const players = new Map<string, Set<() => void>>();

/** Shows a camera or a panorama in a canvas until the returned function is called. */
export function watch(stream: string, canvas: HTMLCanvasElement, options: Omit<PlayerOptions, "stream">) {
  const player = new Player(canvas, { ...options, stream });
  wall.add(player);
  const ends = players.get(stream) ?? new Set();
  players.set(stream, ends);
  const end = () => {
    if (!ends.delete(end)) return;
    wall.remove(player);
    player.close();
    if (ends.size === 0 && players.get(stream) === ends) players.delete(stream);
  };
  ends.add(end);
  return { player, end };
}

/** Ends whatever shows this stream at once, requests under way included: it is about to go. */
export function unwatch(stream: string): void {
  for (const end of [...(players.get(stream) ?? [])]) end();
}

/** How far apart what stands side by side may be, in ms; null while nothing does. */
export function wallErrorMs(): number | null {
  return wall.errorMs;
}
