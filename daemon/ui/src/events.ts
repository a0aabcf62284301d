// The list of events the page shows. Pure.

import type { AnyEventDoc, EventDoc } from "./documents";

/** `label`: a class, or `SYSTEM` and a type, or nothing. */
export interface Filter {
  cam: string;
  label: string;
}

/** Before the type of a system event where a class may stand: no class begins so. */
export const SYSTEM = "type:";

export function matches(event: AnyEventDoc, filter: Filter): boolean {
  const kind = event.type === "track" ? event.label : SYSTEM + event.type;
  // Corrections of stamps are for machines: shown only when asked for.
  if (event.type === "restamp" && kind !== filter.label) return false;
  return (!filter.cam || event.cam === filter.cam) && (!filter.label || kind === filter.label);
}

/** The filter as the API takes it. */
export function query(filter: Filter): Record<string, string> {
  const { cam, label } = filter;
  const kind: Record<string, string> = label.startsWith(SYSTEM) ? { type: label.slice(SYSTEM.length) } : { label };
  return Object.fromEntries(Object.entries({ cam, ...kind }).filter(([, value]) => value));
}

/** The list with one event new or changed; newest first. Ids are UUIDv7 and sort by time. */
export function merged(list: readonly AnyEventDoc[], event: AnyEventDoc, filter: Filter, limit: number): AnyEventDoc[] {
  const at = list.findIndex((known) => known.id === event.id);
  if (at >= 0) return list.with(at, event);
  if (!matches(event, filter)) return [...list];
  const before = list.findIndex((known) => known.id < event.id);
  // Older than all that is shown: it comes with the next page.
  if (before < 0 && list.length >= limit) return [...list];
  const next = [...list];
  next.splice(before < 0 ? list.length : before, 0, event);
  return next;
}

/** The list with the picture of one event gone. */
export function withoutPicture(list: readonly AnyEventDoc[], id: string): AnyEventDoc[] {
  return list.map((event) => (event.id === id && event.type === "track" ? { ...event, picture: null } : event));
}

/** How long an event lasted, seconds; null while it lasts. */
export function lasted(event: EventDoc): number | null {
  if (!event.end) return null;
  return Math.max(0, (Date.parse(event.end.utc) - Date.parse(event.begin.utc)) / 1000);
}

/** The picture's address; changes with the picture, so that no old one is shown. */
export function pictureUrl(event: EventDoc): string | null {
  return event.picture && `${event.picture}?frame=${encodeURIComponent(event.frame)}`;
}
