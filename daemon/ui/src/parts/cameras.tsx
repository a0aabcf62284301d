import { useEffect, useRef, useState } from "preact/hooks";
import { command } from "../api";
import type { CameraDoc, FrameDoc } from "../documents";
import { bound, clockTime, signed } from "../format";
import { labelName, locale, texts } from "../i18n";
import { follow, unfollow } from "../live-picture";
import { complain, leaving, notice, status } from "../state";
import { AddCamera } from "./add-camera";
import { CaptureBound } from "./capture-bound";
import { ClockDoctor } from "./clock-doctor";
import { Dialog } from "./dialog";
import { Bin, Camera, Plus } from "./icons";

const TONE = {
  connecting: "warn",
  online: "good",
  stalled: "warn",
  offline: "bad",
  disabled: "idle",
  auth_failed: "bad",
} as const;

export function Cameras() {
  const t = texts.value;
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<CameraDoc | null>(null);
  const cameras = (status.value?.cameras ?? []).filter((camera) => !leaving.value.has(camera.id));
  return (
    <section aria-labelledby="cameras">
      <header>
        <h2 id="cameras">{t.cameras}</h2>
        <span class="count">{cameras.length}</span>
        <button type="button" class="primary" onClick={() => setAdding(true)}>
          <Plus />
          {t.addCamera}
        </button>
      </header>
      {cameras.length === 0 ? (
        <div class="empty">
          <Camera />
          <h3>{t.noCameras}</h3>
          <p>{t.noCamerasHint}</p>
        </div>
      ) : (
        <div class="cameras">
          {cameras.map((camera) => (
            <Card key={camera.id} camera={camera} onRemove={() => setRemoving(camera)} />
          ))}
        </div>
      )}
      {adding && <AddCamera onClose={() => setAdding(false)} />}
      {removing && <Remove camera={removing} onClose={() => setRemoving(null)} />}
    </section>
  );
}

function Card({ camera, onRemove }: { camera: CameraDoc; onRemove: () => void }) {
  const t = texts.value;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [frame, setFrame] = useState<FrameDoc | null>(null);
  const { state, reason } = camera.status;
  const runs = state !== "disabled";
  useEffect(() => {
    if (!canvas.current || !runs) return;
    return follow(camera.id, canvas.current, labelName, (shown) => setFrame(shown.frame));
  }, [camera.id, runs]);
  const { time, stream } = camera;
  const drops = Object.values(camera.drops).reduce((sum, n) => sum + n, 0);
  const reasons = Object.entries(camera.drops).map(([why, n]) => `${why}: ${n}`);
  return (
    <article class="card camera" data-camera={camera.id}>
      <div class={state === "online" ? "picture" : "picture dim"}>
        <canvas ref={canvas} width="640" height="360" role="img" aria-label={t.livePicture(camera.name)} />
        {!frame && <p class="nothing">{t.noPicture}</p>}
        {frame && (
          <p class="stamp">
            {clockTime(frame.capture.utc, locale())} <CaptureBound of={frame.capture} />
          </p>
        )}
      </div>
      <div class="title">
        <h3 title={camera.source}>{camera.name}</h3>
        <span class={`chip ${TONE[state]}`}>{t.cameraState[state]}</span>
        <button
          type="button"
          class="plain"
          aria-label={`${t.remove}: ${camera.name}`}
          title={t.remove}
          onClick={onRemove}
        >
          <Bin />
        </button>
      </div>
      {reason && <p class="reason">{reason}</p>}
      <dl>
        <div>
          <dt>{t.timeSource}</dt>
          <dd>
            {time.source ? (t.timeSources[time.source] ?? time.source) : t.noTime}{" "}
            {time.source && <span class={`bound ${time.quality}`}>{bound(time.uncertainty_ms)}</span>}
          </dd>
        </div>
        <div>
          <dt title={t.cameraClockHint}>{t.cameraClock}</dt>
          <dd>{time.offset_ms === null ? "–" : signed(time.offset_ms)}</dd>
        </div>
        <div>
          <dt>{t.frameRate}</dt>
          <dd>
            {stream ? (
              <>
                {stream.fps_delivered.toFixed(1)} fps{" "}
                <span class="muted whole">
                  {stream.codec} {stream.width}×{stream.height}
                </span>
              </>
            ) : (
              "–"
            )}
          </dd>
        </div>
        <div>
          <dt>{t.drops}</dt>
          <dd title={reasons.join(", ")}>{drops}</dd>
        </div>
      </dl>
      {time.doctor && <ClockDoctor time={time} doctor={time.doctor} />}
    </article>
  );
}

function Remove({ camera, onClose }: { camera: CameraDoc; onClose: () => void }) {
  const t = texts.value;
  const [busy, setBusy] = useState(false);
  async function remove(): Promise<void> {
    setBusy(true);
    leaving.value = new Set([...leaving.value, camera.id]);
    unfollow(camera.id);
    try {
      await command("DELETE", `/cameras/${camera.id}`);
      notice.value = { text: t.removed(camera.name), bad: false };
    } catch (error) {
      leaving.value = new Set([...leaving.value].filter((id) => id !== camera.id));
      complain(error);
    }
    onClose();
  }
  return (
    <Dialog title={t.removeTitle(camera.name)} onClose={onClose}>
      <p>{t.removeText}</p>
      <footer>
        <button type="button" onClick={onClose}>
          {t.cancel}
        </button>
        <button type="button" class="danger" disabled={busy} onClick={() => void remove()}>
          {t.remove}
        </button>
      </footer>
    </Dialog>
  );
}
