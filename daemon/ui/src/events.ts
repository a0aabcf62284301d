// The list of events the page shows. Pure.

import type { EventDoc } from "./documents";

export interface Filter {
  cam: string;
  label: string;
}

export function matches(event: EventDoc, filter: Filter): boolean {
  return (!filter.cam || event.cam === filter.cam) && (!filter.label || event.label === filter.label);
}

/** The list with one event new or changed; newest first. Ids are UUIDv7 and sort by time. */
export function merged(list: readonly EventDoc[], event: EventDoc, filter: Filter, limit: number): EventDoc[] {
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
export function withoutPicture(list: readonly EventDoc[], id: string): EventDoc[] {
  return list.map((event) => (event.id === id ? { ...event, picture: null } : event));
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
