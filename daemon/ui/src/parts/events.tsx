import { useState } from "preact/hooks";
import type { EventDoc, SystemEventDoc } from "../documents";
import { lasted, pictureUrl, SYSTEM } from "../events";
import { clockTime, dayTime, lastedText, signed } from "../format";
import { labelName, locale, texts } from "../i18n";
import {
  complain,
  events,
  eventsKnown,
  fetchEvents,
  filter,
  labels,
  nextEvents,
  pictureFailed,
  setFilter,
  status,
} from "../state";
import { CaptureBound } from "./capture-bound";
import { Dialog } from "./dialog";
import { Bell, Clock, Link, Plug } from "./icons";

function cameraName(id: string): string {
  const known = [...(status.value?.cameras ?? []), ...(status.value?.panoramas ?? [])];
  return known.find((stream) => stream.id === id)?.name ?? id;
}

export function Events() {
  const t = texts.value;
  const [opened, setOpened] = useState<string | null>(null);
  const { cam, label } = filter.value;
  const list = events.value;
  const open = list.find((event) => event.id === opened);
  return (
    <section class="events" aria-labelledby="events">
      <header>
        <h2 id="events">{t.events}</h2>
        <select
          aria-label={t.filterCamera}
          value={cam}
          onChange={(event) => setFilter({ cam: event.currentTarget.value, label })}
        >
          <option value="">{t.allCameras}</option>
          {status.value?.cameras.map((camera) => (
            <option key={camera.id} value={camera.id}>
              {camera.name}
            </option>
          ))}
        </select>
        <select
          aria-label={t.filterLabel}
          value={label}
          onChange={(event) => setFilter({ cam, label: event.currentTarget.value })}
        >
          <option value="">{t.allLabels}</option>
          {labels.value.map((name) => (
            <option key={name} value={name}>
              {labelName(name)}
            </option>
          ))}
          <optgroup label={t.systemEvents}>
            {Object.entries(t.systemEvent).map(([type, name]) => (
              <option key={type} value={SYSTEM + type}>
                {name}
              </option>
            ))}
          </optgroup>
        </select>
      </header>
      {list.length === 0 && eventsKnown.value ? (
        <div class="empty">
          <Bell />
          <h3>{cam || label ? t.noMatch : t.noEvents}</h3>
          {!cam && !label && <p>{t.noEventsHint}</p>}
        </div>
      ) : (
        <ul>
          {list.map((event) => (
            <li key={event.id}>
              {event.type === "track" ? (
                <Row event={event} onOpen={() => setOpened(event.id)} />
              ) : (
                <SystemRow event={event} />
              )}
            </li>
          ))}
        </ul>
      )}
      {nextEvents.value && (
        <button type="button" onClick={() => fetchEvents(true).catch(complain)}>
          {t.more}
        </button>
      )}
      {open?.type === "track" && <Large event={open} onClose={() => setOpened(null)} />}
    </section>
  );
}

function ending(event: EventDoc): string {
  const seconds = lasted(event);
  return seconds === null ? texts.value.ongoing : lastedText(seconds);
}

function Row({ event, onOpen }: { event: EventDoc; onOpen: () => void }) {
  const url = pictureUrl(event);
  const [x, y, w, h] = event.bbox;
  const shown = event.restamped ?? event.begin;
  const centre = { objectPosition: `${(100 * (x + w / 2)).toFixed(0)}% ${(100 * (y + h / 2)).toFixed(0)}%` };
  return (
    <button type="button" class="row" data-event={event.id} onClick={onOpen}>
      {url ? (
        <img src={url} alt="" loading="lazy" style={centre} onError={() => pictureFailed(event.id)} />
      ) : (
        <span class="blank" />
      )}
      <span class="what">
        <strong>{labelName(event.label)}</strong>
        <span class="muted">{cameraName(event.cam)}</span>
        <time dateTime={shown.utc}>{dayTime(shown.utc, locale(), new Date())}</time>
      </span>
      <span class={event.end ? "chip idle" : "chip good"}>{ending(event)}</span>
    </button>
  );
}

/** What happened, in a sentence; the reason as the daemon says it. */
function happened(event: SystemEventDoc): string {
  const t = texts.value;
  if (event.step_ms !== null) return signed(event.step_ms);
  if (event.type === "detector_engine") return `${event.from ?? "–"} → ${event.to ?? "–"}: ${event.reason ?? ""}`;
  if (event.from && event.to) {
    return `${t.timeSources[event.from] ?? event.from} → ${t.timeSources[event.to] ?? event.to}`;
  }
  return event.reason ?? "";
}

function SystemRow({ event }: { event: SystemEventDoc }) {
  const t = texts.value;
  const bad = event.type === "camera_offline" || event.type === "stitch_degraded" || event.type === "gpu_throttled";
  const text = happened(event);
  return (
    <div class="row system" data-event={event.id}>
      <span class="sign">
        {event.type.startsWith("camera_o") ? <Plug /> : event.type.startsWith("stitch_") ? <Link /> : <Clock />}
      </span>
      <span class="what">
        <strong>{t.systemEvent[event.type]}</strong>
        <span class="muted">{event.cam === null ? t.theBox : cameraName(event.cam)}</span>
        <time dateTime={event.utc}>{dayTime(event.utc, locale(), new Date())}</time>
        {text && <span class="muted">{text}</span>}
        {event.untold > 0 && <span class="muted">{t.untold(event.untold)}</span>}
      </span>
      <span class={bad ? "chip bad" : "chip idle"}>{t.systemEventShort[event.type]}</span>
    </div>
  );
}

function Large({ event, onClose }: { event: EventDoc; onClose: () => void }) {
  const t = texts.value;
  const url = pictureUrl(event);
  const [x, y, w, h] = event.bbox.map((part) => `${(100 * part).toFixed(2)}%`);
  const shown = event.restamped ?? event.begin;
  const box = { left: x, top: y, width: w, height: h };
  const title = `${labelName(event.label)} · ${cameraName(event.cam)}`;
  return (
    <Dialog title={title} wide onClose={onClose}>
      {url ? (
        <div class="large">
          <img
            src={url}
            alt={t.eventPicture(labelName(event.label), cameraName(event.cam))}
            onError={() => pictureFailed(event.id)}
          />
          <span class="box" style={box} />
        </div>
      ) : (
        <p class="muted">{t.noEventPicture}</p>
      )}
      <dl class="facts">
        <dt>{t.began}</dt>
        <dd>
          {dayTime(shown.utc, locale(), new Date(0))} <CaptureBound of={shown} />
        </dd>
        <dt>{t.ended}</dt>
        <dd>
          {event.end ? clockTime(event.end.utc, locale()) : t.ongoing}
          {event.ended_by && <span class="muted"> · {t.endedBy[event.ended_by] ?? event.ended_by}</span>}
        </dd>
        <dt>{t.duration}</dt>
        <dd>{ending(event)}</dd>
        <dt>{t.timeSource}</dt>
        <dd>{t.timeSources[event.begin.source] ?? event.begin.source}</dd>
        <dt>{t.score}</dt>
        <dd>{Math.round(100 * event.score)} %</dd>
        <dt>{t.detector}</dt>
        <dd>{event.detector}</dd>
        <dt>{t.track}</dt>
        <dd>{event.track}</dd>
        <dt>{t.frame}</dt>
        <dd>
          <code>{event.frame}</code>
        </dd>
      </dl>
    </Dialog>
  );
}
