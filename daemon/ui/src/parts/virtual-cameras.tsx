import { useEffect, useRef, useState } from "preact/hooks";
import { get, patch } from "../api";
import type { Ptz, VirtualCameraDoc } from "../documents";
import { texts } from "../i18n";
import { complain } from "../state";
import { Plus } from "./icons";
import { Live } from "./live";
import { sources, VirtualCameraForm } from "./virtual-camera-form";

const TONE = { waiting: "warn", stopped: "idle", running: "good" } as const;
/** How often it is asked where they look, and whether there are any. */
const LOOK_MS = 2000;
const NONE_MS = 15_000;
/** A button turns by this part of the view, and zooms by this factor. */
const STEP = 0.25;
const ZOOM_STEP = 1.4;
/** Pixels of the wheel that make things twice as large. */
const WHEEL_PX = 400;

export function VirtualCameras() {
  const t = texts.value.virtualCamera;
  const [list, setList] = useState<VirtualCameraDoc[]>([]);
  // The one whose settings are open; `null` in it: a new one.
  const [form, setForm] = useState<{ view: VirtualCameraDoc | null } | null>(null);
  // Counts up where the list is to be read at once.
  const [round, setRound] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | null = null;
    let there = true;
    async function look() {
      let some = false;
      try {
        const now = await get<VirtualCameraDoc[]>("/virtual-cameras");
        some = now.length > 0;
        if (there) setList(now);
      } catch {
        // Where the box does not answer, the page says so elsewhere.
      }
      if (there) timer = setTimeout(() => void look(), some || round > 0 ? LOOK_MS : NONE_MS);
    }
    void look();
    return () => {
      there = false;
      if (timer !== null) clearTimeout(timer);
    };
  }, [round]);
  const renew = (doc: VirtualCameraDoc) => setList((old) => old.map((view) => (view.id === doc.id ? doc : view)));
  if (list.length === 0 && sources().length === 0) return null;
  return (
    <section aria-labelledby="virtual-cameras">
      <header>
        <h2 id="virtual-cameras">{t.title}</h2>
        {list.length > 0 && <span class="count">{list.length}</span>}
        <button type="button" onClick={() => setForm({ view: null })}>
          <Plus />
          {t.add}
        </button>
      </header>
      {list.length === 0 && <p class="muted">{t.noneHint}</p>}
      <div class="views">
        {list.map((view) => (
          <View key={view.id} view={view} onNews={renew} onSettings={() => setForm({ view })} />
        ))}
      </div>
      {form && (
        <VirtualCameraForm
          view={form.view}
          taken={list.map((view) => view.id)}
          onDone={() => setRound(round + 1)}
          onClose={() => setForm(null)}
        />
      )}
    </section>
  );
}

/** Degrees across the view now. */
function across(view: VirtualCameraDoc, axis: 0 | 1, zoom: number): number {
  const fov = view.limits?.fov[axis] ?? 60;
  return (2 * Math.atan(Math.tan((fov * Math.PI) / 360) / zoom) * 180) / Math.PI;
}

/** Sends wishes one after the other: while one is under way the newest waits. */
function useSteering(view: VirtualCameraDoc, onNews: (doc: VirtualCameraDoc) => void) {
  const waiting = useRef<Partial<Ptz & { follow: boolean }> | null>(null);
  const busy = useRef(false);
  return async (wish: Partial<Ptz & { follow: boolean }>) => {
    waiting.current = wish;
    if (busy.current) return;
    busy.current = true;
    try {
      while (waiting.current) {
        const next = waiting.current;
        waiting.current = null;
        onNews(await patch<VirtualCameraDoc>(`/virtual-cameras/${view.id}`, next));
      }
    } catch (error) {
      complain(error);
    } finally {
      busy.current = false;
    }
  };
}

interface ViewProps {
  view: VirtualCameraDoc;
  onNews: (doc: VirtualCameraDoc) => void;
  onSettings: () => void;
}

function View({ view, onNews, onSettings }: ViewProps) {
  const t = texts.value.virtualCamera;
  const steer = useSteering(view, onNews);
  const drag = useRef<{ x: number; y: number; from: Ptz } | null>(null);
  const frame = useRef<HTMLDivElement>(null);
  // Of this moment, for a listener that lives longer.
  const newest = useRef(view);
  newest.current = view;
  const zoom = (factor: number) => steer({ zoom: Math.max(1, newest.current.target.zoom * factor) });
  const latest = useRef(zoom);
  latest.current = zoom;
  useEffect(() => {
    const element = frame.current;
    // The page must not scroll meanwhile: that needs a listener that is not passive.
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      void latest.current(2 ** (-event.deltaY / WHEEL_PX));
    };
    element?.addEventListener("wheel", wheel, { passive: false });
    return () => element?.removeEventListener("wheel", wheel);
  }, []);
  const turn = (pan: number, tilt: number) => {
    const { target } = view;
    void steer({
      pan: target.pan + pan * STEP * across(view, 0, target.zoom),
      tilt: target.tilt + tilt * STEP * across(view, 1, target.zoom),
    });
  };
  const runs = view.state !== "stopped";
  const buttons: [string, string, () => void][] = [
    ["◀", t.left, () => turn(-1, 0)],
    ["▶", t.right, () => turn(1, 0)],
    ["▲", t.up, () => turn(0, 1)],
    ["▼", t.down, () => turn(0, -1)],
    ["+", t.closer, () => void zoom(ZOOM_STEP)],
    ["−", t.wider, () => void zoom(1 / ZOOM_STEP)],
  ];
  return (
    <article class="card view" data-view={view.id}>
      <div
        class="steered"
        ref={frame}
        title={t.steer}
        onPointerDown={(event) => {
          if (!runs || event.button !== 0 || (event.target as Element).closest("button")) return;
          drag.current = { x: event.clientX, y: event.clientY, from: view.now };
          event.currentTarget.setPointerCapture(event.pointerId);
        }}
        onPointerMove={(event) => {
          const begun = drag.current;
          if (!begun) return;
          const box = event.currentTarget.getBoundingClientRect();
          // What is under the pointer stays under it.
          void steer({
            pan: begun.from.pan - ((event.clientX - begun.x) / box.width) * across(view, 0, begun.from.zoom),
            tilt: begun.from.tilt + ((event.clientY - begun.y) / box.height) * across(view, 1, begun.from.zoom),
          });
        }}
        onPointerUp={() => {
          drag.current = null;
        }}
        onPointerCancel={() => {
          drag.current = null;
        }}
      >
        <Live
          stream={view.id}
          kind="panorama"
          name={view.name}
          runs={runs}
          dim={view.state !== "running"}
          shape={`${view.width} / ${view.height}`}
        />
      </div>
      <div class="title">
        <h3>{view.name}</h3>
        <span class={`chip ${TONE[view.state]}`}>{t.state[view.state]}</span>
        <small>{t.of(view.stream)}</small>
      </div>
      {view.reason && <p class="reason">{view.reason}</p>}
      <footer>
        {buttons.map(([sign, label, act]) => (
          <button key={sign} type="button" aria-label={label} title={label} disabled={!runs} onClick={act}>
            {sign}
          </button>
        ))}
        <label class="check">
          <input
            type="checkbox"
            checked={view.follow}
            disabled={!runs}
            onChange={(event) => void steer({ follow: event.currentTarget.checked })}
          />
          {t.follow}
        </label>
        <button type="button" onClick={onSettings}>
          {t.settings}
        </button>
        <output>{t.looks(view.now.pan.toFixed(1), view.now.tilt.toFixed(1), view.now.zoom.toFixed(1))}</output>
      </footer>
    </article>
  );
}
