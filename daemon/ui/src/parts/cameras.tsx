import { useState } from "preact/hooks";
import type { Stats } from "synoptic-player";
import { command } from "../api";
import type { CameraDoc } from "../documents";
import { bound, signed, span } from "../format";
import { texts } from "../i18n";
import { unwatch, wallErrorMs } from "../live";
import { complain, leaving, notice, status } from "../state";
import { AddCamera } from "./add-camera";
import { ClockDoctor } from "./clock-doctor";
import { Dialog } from "./dialog";
import { Bin, Camera, Plus } from "./icons";
import { Live } from "./live";

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
  const [stats, setStats] = useState<Stats | null>(null);
  const { state, reason } = camera.status;
  const { time, stream } = camera;
  const drops = Object.values(camera.drops).reduce((sum, n) => sum + n, 0);
  const reasons = Object.entries(camera.drops).map(([why, n]) => `${why}: ${n}`);
  return (
    <article class="card camera" data-camera={camera.id}>
      <Live
        stream={camera.id}
        kind="camera"
        name={camera.name}
        runs={state !== "disabled"}
        dim={state !== "online"}
        onStats={setStats}
      />
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
        {stats && <Playing stats={stats} />}
      </dl>
      {time.doctor && <ClockDoctor time={time} doctor={time.doctor} />}
    </article>
  );
}

/** How far behind the camera the picture is played, and how its boxes came. */
function Playing({ stats }: { stats: Stats }) {
  const t = texts.value;
  const { boxes } = stats;
  const looked = boxes.exact + boxes.skipped + boxes.late + boxes.never;
  return (
    <>
      <div>
        <dt title={t.delayHint}>{t.delay}</dt>
        <dd>
          {stats.path === "pictures" ? "–" : span(Math.max(0, stats.holdMs))}{" "}
          <span class="muted whole" title={wallErrorMs() === null ? "" : t.wallHint(bound(wallErrorMs()))}>
            {t.playPath[stats.path] ?? stats.path}
          </span>
        </dd>
      </div>
      <div>
        <dt title={t.boxesHint}>{t.boxesInTime}</dt>
        <dd title={t.boxCounts(boxes.exact, boxes.skipped, boxes.late, boxes.never)}>
          {looked === 0 || boxes.exact === 0 ? "–" : `${Math.floor((100 * boxes.exact) / looked)} %`}
        </dd>
      </div>
    </>
  );
}

function Remove({ camera, onClose }: { camera: CameraDoc; onClose: () => void }) {
  const t = texts.value;
  const [busy, setBusy] = useState(false);
  async function remove(): Promise<void> {
    setBusy(true);
    leaving.value = new Set([...leaving.value, camera.id]);
    unwatch(camera.id);
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
