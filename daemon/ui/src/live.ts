// The players of the page: one for each camera, all on one wall, so that what stands side by side is one instant.

import { Player, type PlayerOptions, Wall } from "synoptic-player";

const wall = new Wall();
/** By camera. */
const players = new Map<string, Set<() => void>>();

/** Shows a camera in a canvas until the returned function is called. */
export function watch(camera: string, canvas: HTMLCanvasElement, options: Omit<PlayerOptions, "stream">) {
  const player = new Player(canvas, { ...options, stream: camera });
  wall.add(player);
  const ends = players.get(camera) ?? new Set();
  players.set(camera, ends);
  const end = () => {
    if (!ends.delete(end)) return;
    wall.remove(player);
    player.close();
    if (ends.size === 0 && players.get(camera) === ends) players.delete(camera);
  };
  ends.add(end);
  return { player, end };
}

/** Ends whatever shows this camera at once, requests under way included: it is about to go. */
export function unwatch(camera: string): void {
  for (const end of [...(players.get(camera) ?? [])]) end();
}

/** How far apart what stands side by side may be, in ms; null while nothing does. */
export function wallErrorMs(): number | null {
  return wall.errorMs;
}
