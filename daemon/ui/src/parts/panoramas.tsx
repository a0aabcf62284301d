import { useEffect, useState } from "preact/hooks";
import { command, get } from "../api";
import type { CalibrationDoc, PanoramaDoc, SeamDoc } from "../documents";
import { bound, dayTime, signed } from "../format";
import { locale, texts } from "../i18n";
import { unwatch } from "../live";
import { complain, notice, status } from "../state";
import type { Texts } from "../texts/en";
import { ControlPoints } from "./control-points";
import { Dialog } from "./dialog";
import { Live } from "./live";

const TONE = {
  waiting: "warn",
  stopped: "idle",
  paused: "idle",
  uncalibrated: "warn",
  running: "good",
  degraded: "bad",
} as const;

/** A calibration that runs, or waits for a person. */
const BUSY: readonly string[] = ["collecting", "solving", "ready"];

/** What stands in the place of a picture. */
const NOTHING: Partial<Record<PanoramaDoc["status"]["state"], (t: Texts) => string>> = {
  uncalibrated: (t) => t.panorama.notCalibrated,
  stopped: (t) => t.panorama.state.stopped,
};

export function Panoramas() {
  const t = texts.value;
  const panoramas = status.value?.panoramas ?? [];
  if (panoramas.length === 0) return null;
  return (
    <section aria-labelledby="panoramas">
      <header>
        <h2 id="panoramas">{t.panorama.title}</h2>
      </header>
      {panoramas.map((panorama) => (
        <Panorama key={panorama.id} panorama={panorama} />
      ))}
    </section>
  );
}

function cameraName(id: string): string {
  return status.value?.cameras.find((camera) => camera.id === id)?.name ?? id;
}

function Panorama({ panorama }: { panorama: PanoramaDoc }) {
  const t = texts.value;
  const [seams, setSeams] = useState(false);
  const [versions, setVersions] = useState(false);
  const [points, setPoints] = useState(false);
  // Counts up where the picture has to begin anew.
  const [round, setRound] = useState(0);
  const { state, reason, width, height, latency_ms: latency } = panorama.status;
  const shape = width !== null && height !== null ? `${width} / ${height}` : "16 / 5";
  return (
    <article class="card panorama" data-panorama={panorama.id}>
      <Live
        key={round}
        stream={panorama.id}
        kind="panorama"
        name={panorama.name}
        runs={state !== "stopped"}
        dim={state !== "running" && state !== "degraded"}
        shape={shape}
        nothing={NOTHING[state]?.(t) ?? t.noPicture}
      >
        {seams && <Lines panorama={panorama} />}
      </Live>
      <div class="title">
        <h3>{panorama.name}</h3>
        <span class={`chip ${TONE[state]}`}>{t.panorama.state[state]}</span>
        <label class="check">
          <input type="checkbox" checked={seams} onChange={(event) => setSeams(event.currentTarget.checked)} />
          {t.panorama.showSeams}
        </label>
      </div>
      {reason && state !== "stopped" && <p class="reason">{reason}</p>}
      <dl class="figures">
        <div>
          <dt>{t.frameRate}</dt>
          <dd>
            <strong>{panorama.status.fps.toFixed(1)}</strong> fps
            {width !== null && (
              <small>
                {width}×{height}
              </small>
            )}
          </dd>
        </div>
        <div>
          <dt title={t.panorama.latencyHint}>{t.panorama.latency}</dt>
          <dd>
            <strong>{latency ? `${latency.p50.toFixed(0)} ms` : "–"}</strong>
            {latency && <small>p99 {latency.p99.toFixed(0)} ms</small>}
          </dd>
        </div>
        <div>
          <dt>{t.panorama.calibration}</dt>
          <dd>
            <strong>{panorama.status.calibration ?? "–"}</strong>
          </dd>
        </div>
      </dl>
      <Seams seams={panorama.status.seams} />
      {state !== "stopped" && <Calibration panorama={panorama} />}
      <footer>
        {state !== "stopped" && (
          <button
            type="button"
            disabled={BUSY.includes(panorama.job?.state ?? "")}
            onClick={() => void command("POST", `/panoramas/${panorama.id}/calibrate`, {}).catch(complain)}
          >
            {t.panorama.calibrate}
          </button>
        )}
        {state !== "stopped" && (
          <button
            type="button"
            onClick={() =>
              void command("POST", `/panoramas/${panorama.id}/${state === "paused" ? "resume" : "pause"}`).catch(
                complain,
              )
            }
          >
            {state === "paused" ? t.panorama.resume : t.panorama.pause}
          </button>
        )}
        <button
          type="button"
          onClick={() => {
            const what = state === "stopped" ? "start" : "stop";
            if (what === "stop") unwatch(panorama.id);
            command("POST", `/panoramas/${panorama.id}/${what}`).catch((error) => {
              setRound(round + 1);
              complain(error);
            });
          }}
        >
          {state === "stopped" ? t.panorama.start : t.panorama.stop}
        </button>
        <button type="button" onClick={() => setVersions(true)}>
          {t.panorama.versions}
        </button>
        <button type="button" onClick={() => setPoints(true)}>
          {t.panorama.points}
        </button>
      </footer>
      {points && <ControlPoints panorama={panorama} onClose={() => setPoints(false)} />}
      {versions && <Versions panorama={panorama} onClose={() => setVersions(false)} />}
    </article>
  );
}

/** The seams over the picture; redrawn with each status. */
function Lines({ panorama }: { panorama: PanoramaDoc }) {
  return (
    <svg class="seams" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
      {panorama.lines.map((line) => (
        <polyline
          key={line.points[0]?.join() ?? ""}
          class={line.cut_cells > 0 ? "cut" : ""}
          points={line.points.map((point) => point.join()).join(" ")}
        />
      ))}
    </svg>
  );
}

function Seams({ seams }: { seams: SeamDoc[] }) {
  const t = texts.value.panorama;
  if (seams.length === 0) return null;
  const value = (v: number | null, digits: number, unit = "") => (v === null ? "–" : `${v.toFixed(digits)}${unit}`);
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col">{t.pair}</th>
            <th scope="col" title={t.residualHint}>
              {t.residual}
            </th>
            <th scope="col">PSNR</th>
            <th scope="col">SSIM</th>
            <th scope="col" title={t.ghostHint}>
              {t.ghost}
            </th>
            <th scope="col">ΔE00</th>
            <th scope="col" title={t.skewHint}>
              {t.skew}
            </th>
          </tr>
        </thead>
        <tbody>
          {seams.map((seam) => (
            <tr key={seam.cameras.join()}>
              <th scope="row">{seam.cameras.map(cameraName).join(" – ")}</th>
              <td>{value(seam.residual_px, 2, " px")}</td>
              <td>{value(seam.psnr_db, 1, " dB")}</td>
              <td>{value(seam.ssim, 3)}</td>
              <td>{seam.ghost_edge_fraction === null ? "–" : `${(100 * seam.ghost_edge_fraction).toFixed(1)} %`}</td>
              <td>{value(seam.delta_e00, 1)}</td>
              <td>
                {seam.skew_ms === null ? "–" : signed(seam.skew_ms)}
                {seam.skew_error_ms !== null && <small> {bound(seam.skew_error_ms)}</small>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How far a calibration is, and what to do with the result. */
function Calibration({ panorama }: { panorama: PanoramaDoc }) {
  const t = texts.value;
  const { job } = panorama;
  const path = `/panoramas/${panorama.id}`;
  const running = job !== null && (job.state === "collecting" || job.state === "solving");
  const run = (work: Promise<void>) => void work.catch(complain);
  if (running) {
    return (
      <div class="job">
        <p>{job.state === "collecting" ? t.panorama.collecting : t.panorama.solving}</p>
        <progress max="1" value={job.progress} aria-label={t.panorama.calibrate} />
      </div>
    );
  }
  if (job?.state !== "refused" && job?.state !== "ready") return null;
  return (
    <div class="job">
      {job?.state === "refused" && <p class="reason">{job.reason}</p>}
      {job?.state === "ready" && job.result && (
        <>
          <p>{t.panorama.ready}</p>
          <Result calibration={job.result} />
          <button type="button" class="primary" onClick={() => run(command("POST", `${path}/calibrations/candidate`))}>
            {t.panorama.accept}
          </button>
          <button type="button" onClick={() => run(command("DELETE", `${path}/calibrations/candidate`))}>
            {t.panorama.discard}
          </button>
        </>
      )}
    </div>
  );
}

function Result({ calibration }: { calibration: CalibrationDoc }) {
  const t = texts.value.panorama;
  return (
    <figure>
      {calibration.picture && <img src={`${calibration.picture}?${calibration.created}`} alt={t.preview} />}
      <figcaption>
        {calibration.width}×{calibration.height} · {t.misses(calibration.rms_px.toFixed(2))}
        {calibration.cameras.some((camera) => camera.confidence !== null) &&
          ` · ${t.confidence} ${Math.min(...calibration.cameras.map((camera) => camera.confidence ?? 1)).toFixed(2)}`}
      </figcaption>
    </figure>
  );
}

function Versions({ panorama, onClose }: { panorama: PanoramaDoc; onClose: () => void }) {
  const t = texts.value;
  const [list, setList] = useState<CalibrationDoc[] | null>(null);
  const path = `/panoramas/${panorama.id}/calibrations`;
  // A new version in use is a new list.
  const inUse = panorama.status.calibration;
  useEffect(() => {
    get<CalibrationDoc[]>(`${path}?${inUse ?? 0}`)
      .then(setList)
      .catch(complain);
  }, [path, inUse]);
  async function restore(version: number): Promise<void> {
    try {
      await command("POST", `${path}/${version}/restore`);
      notice.value = { text: t.panorama.restored(version), bad: false };
    } catch (error) {
      complain(error);
    }
    onClose();
  }
  return (
    <Dialog title={t.panorama.versions} onClose={onClose}>
      <ul class="versions">
        {(list ?? [])
          .filter((calibration) => calibration.version !== null)
          .map((calibration) => (
            <li key={calibration.version}>
              <h4>
                {calibration.version} <small>{dayTime(calibration.created, locale(), new Date())}</small>
              </h4>
              <Result calibration={calibration} />
              {calibration.version === inUse ? (
                <span class="chip good">{t.panorama.inUse}</span>
              ) : (
                <button type="button" onClick={() => void restore(calibration.version ?? 0)}>
                  {t.panorama.restore}
                </button>
              )}
            </li>
          ))}
      </ul>
      {list?.length === 0 && <p>{t.panorama.noVersions}</p>}
    </Dialog>
  );
}
