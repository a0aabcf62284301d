// What the page knows, and the live connection that keeps it true.

import { batch, signal } from "@preact/signals";
import { ApiError, get } from "./api";
import type { AnyEventDoc, EventPage, PacketLine, SessionDoc, StatusDoc } from "./documents";
import { type Filter, merged, query, withoutPicture } from "./events";
import { History } from "./history";

export const session = signal<SessionDoc | null>(null);
export const status = signal<StatusDoc | null>(null);
/** Cameras being removed: hidden until a status comes without them, so that nobody asks for their pictures. */
export const leaving = signal<ReadonlySet<string>>(new Set());
export const link = signal<"connecting" | "up" | "lost">("connecting");
export const notice = signal<{ text: string; bad: boolean } | null>(null);

/** Packets by group: read by the plots at their own pace, so no signal. */
export const histories = new Map<string, History>();

export const filter = signal<Filter>({ cam: "", label: "" });
export const events = signal<AnyEventDoc[]>([]);
export const nextEvents = signal<string | null>(null);
export const eventsKnown = signal(false);
/** Classes seen so far, for the filter. */
export const labels = signal<string[]>([]);

const PAGE = 24;
/** Events kept on the page; older ones come with "show more". */
const MAX_EVENTS = 400;
/** The status comes every second: this long without anything is a lost connection. */
const SILENCE_MS = 8000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

function see(list: readonly AnyEventDoc[]): void {
  const known = new Set(labels.value);
  const before = known.size;
  for (const event of list) if (event.type === "track") known.add(event.label);
  if (known.size !== before) labels.value = [...known].sort();
}

let asked = 0;

/** Fetches the newest events, or those after the ones shown. */
export async function fetchEvents(more = false): Promise<void> {
  asked += 1;
  const turn = asked;
  const wanted = new URLSearchParams({ limit: String(PAGE), ...query(filter.value) });
  if (more && nextEvents.value) wanted.set("before", nextEvents.value);
  const page = await get<EventPage>(`/events?${wanted}`);
  // The filter changed meanwhile: a newer request has the answer.
  if (turn !== asked) return;
  batch(() => {
    events.value = more ? [...events.value, ...page.events] : page.events;
    nextEvents.value = page.next;
    eventsKnown.value = true;
    see(page.events);
  });
}

/** A picture did not come: removed with its event to make room, most likely. The next change of the event tries again. */
export function pictureFailed(id: string): void {
  events.value = withoutPicture(events.value, id);
}

export function setFilter(next: Filter): void {
  filter.value = next;
  fetchEvents().catch(complain);
}

export function complain(error: unknown): void {
  if (error instanceof ApiError && error.problem?.status === 401) {
    void findSession();
    return;
  }
  notice.value = { text: error instanceof Error ? error.message : String(error), bad: true };
}

function onPacket(packet: PacketLine): void {
  let history = histories.get(packet.group);
  if (!history) {
    history = new History();
    histories.set(packet.group, history);
  }
  history.add(packet, performance.now());
}

let source: EventSource | null = null;
let silence = 0;
let retry = 0;
let tries = 0;

function close(): void {
  source?.close();
  source = null;
  clearTimeout(silence);
  clearTimeout(retry);
}

function lost(): void {
  close();
  link.value = "lost";
  const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 8000;
  tries += 1;
  retry = window.setTimeout(() => void findSession(), wait);
}

function heard(): void {
  clearTimeout(silence);
  silence = window.setTimeout(lost, SILENCE_MS);
}

function connect(): void {
  close();
  const live = new EventSource("/api/v1/live");
  source = live;
  heard();
  live.onopen = () => {
    heard();
    fetchEvents().catch(complain);
  };
  live.onerror = lost;
  live.addEventListener("status", (message) => {
    heard();
    tries = 0;
    batch(() => {
      const doc: StatusDoc = JSON.parse(message.data);
      status.value = doc;
      const still = doc.cameras.map((camera) => camera.id).filter((id) => leaving.value.has(id));
      if (still.length !== leaving.value.size) leaving.value = new Set(still);
      link.value = "up";
    });
  });
  live.addEventListener("packet", (message) => {
    heard();
    onPacket(JSON.parse(message.data));
  });
  live.addEventListener("event", (message) => {
    heard();
    const event: AnyEventDoc = JSON.parse(message.data);
    batch(() => {
      see([event]);
      events.value = merged(events.value, event, filter.value, MAX_EVENTS).slice(0, MAX_EVENTS);
    });
  });
  live.addEventListener("resync", () => void fetchEvents().catch(complain));
}

/** Asks the box whether a sign-in is needed, and connects when it is not. */
export async function findSession(): Promise<void> {
  clearTimeout(retry);
  try {
    session.value = await get<SessionDoc>("/session");
  } catch {
    lost();
    return;
  }
  if (session.value.signed_in) {
    connect();
  } else {
    close();
    batch(() => {
      status.value = null;
      events.value = [];
      eventsKnown.value = false;
      histories.clear();
    });
  }
}
