// Places that a person finds in the pictures of two cameras, for the next calibration to hold on to.

import { useEffect, useRef, useState } from "preact/hooks";
import { command, get } from "../api";
import type { ControlPointDoc, PanoramaDoc } from "../documents";
import { texts } from "../i18n";
import { complain, notice, status } from "../state";
import { Dialog } from "./dialog";

type Place = [number, number];

/** What an arrow key moves a point by, in fractions of the picture; with Shift ten times as far. */
const STEP = 0.0008;
const ARROWS: Record<string, Place> = {
  ArrowLeft: [-STEP, 0],
  ArrowRight: [STEP, 0],
  ArrowUp: [0, -STEP],
  ArrowDown: [0, STEP],
};
/** A place in the picture, never on its far edge. */
const within = (v: number) => Math.min(0.9999, Math.max(0, v));

function cameraName(id: string): string {
  return status.value?.cameras.find((camera) => camera.id === id)?.name ?? id;
}

/** Every two cameras of a panorama, neighbours first. */
export function pairs(cameras: readonly string[]): [string, string][] {
  const all: [string, string][] = [];
  for (let apart = 1; apart < cameras.length; apart += 1)
    for (let k = 0; k + apart < cameras.length; k += 1) all.push([cameras[k] ?? "", cameras[k + apart] ?? ""]);
  return all;
}

export function ControlPoints({ panorama, onClose }: { panorama: PanoramaDoc; onClose: () => void }) {
  const t = texts.value;
  const path = `/panoramas/${panorama.id}/control-points`;
  const choices = pairs(panorama.status.cameras.map((member) => member.cam));
  const [which, setWhich] = useState(0);
  const [points, setPoints] = useState<ControlPointDoc[]>([]);
  const [begun, setBegun] = useState<{ camera: string; at: Place } | null>(null);
  const [taken, setTaken] = useState(0);
  useEffect(() => {
    get<ControlPointDoc[]>(path).then(setPoints).catch(complain);
  }, [path]);
  const pair = choices[which];
  if (!pair) return null;

  const click = (camera: string, at: Place) => {
    if (!begun || begun.camera === camera) {
      setBegun({ camera, at });
      return;
    }
    setPoints([...points, { cameras: [begun.camera, camera], at: [begun.at, at] }]);
    setBegun(null);
  };
  const move = (index: number, camera: string, to: Place) =>
    setPoints(points.map((point, k) => (k === index ? moved(point, camera, to) : point)));
  const remove = (index: number) => setPoints(points.filter((_, k) => k !== index));
  async function save(): Promise<void> {
    try {
      await command("PUT", path, points);
      notice.value = { text: t.panorama.pointsKept(points.length), bad: false };
      onClose();
    } catch (error) {
      complain(error);
    }
  }
  const shown = points.filter((point) => point.cameras.every((camera) => pair.includes(camera)));
  return (
    <Dialog title={t.panorama.points} wide onClose={onClose}>
      <p>{t.panorama.pointsHint}</p>
      {choices.length > 1 && (
        <select
          aria-label={t.panorama.pair}
          value={which}
          onChange={(event) => {
            setWhich(Number(event.currentTarget.value));
            setBegun(null);
          }}
        >
          {choices.map((choice, k) => (
            <option key={choice.join()} value={k}>
              {choice.map(cameraName).join(" – ")}
            </option>
          ))}
        </select>
      )}
      <div class="points">
        {pair.map((camera) => (
          <Picture
            key={camera}
            camera={camera}
            taken={taken}
            marks={shown.flatMap((point) => {
              const at = point.at[point.cameras.indexOf(camera)];
              return at ? [{ index: points.indexOf(point), at }] : [];
            })}
            begun={begun?.camera === camera ? begun.at : null}
            onClick={(at) => click(camera, at)}
            onMove={(index, to) => move(index, camera, to)}
            onRemove={remove}
          />
        ))}
      </div>
      <footer>
        <span class="muted">{t.panorama.pointsCount(shown.length)}</span>
        <button type="button" onClick={() => setTaken(taken + 1)}>
          {t.panorama.newPictures}
        </button>
        <button type="button" disabled={points.length === 0} onClick={() => setPoints([])}>
          {t.panorama.removeAll}
        </button>
        <button type="button" class="primary" onClick={() => void save()}>
          {t.panorama.keep}
        </button>
      </footer>
    </Dialog>
  );
}

function moved(point: ControlPointDoc, camera: string, to: Place): ControlPointDoc {
  const [one, two] = point.at;
  return { ...point, at: point.cameras[0] === camera ? [to, two] : [one, to] };
}

interface PictureProps {
  camera: string;
  /** Counts up where newer pictures are wanted. */
  taken: number;
  marks: { index: number; at: Place }[];
  /** The place whose counterpart is still to be found. */
  begun: Place | null;
  onClick: (at: Place) => void;
  onMove: (index: number, to: Place) => void;
  onRemove: (index: number) => void;
}

function Picture({ camera, taken, marks, begun, onClick, onMove, onRemove }: PictureProps) {
  const t = texts.value;
  const frame = useRef<HTMLDivElement>(null);
  const place = (event: { clientX: number; clientY: number }): Place => {
    const box = frame.current?.getBoundingClientRect();
    if (!box) return [0, 0];
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  };
  const position = ([x, y]: Place) => ({ left: `${100 * x}%`, top: `${100 * y}%` });
  return (
    <figure>
      <div class="frame" ref={frame}>
        {/* biome-ignore lint/a11y/useKeyWithClickEvents: what matters is where in the picture; marks move by arrow keys */}
        <img
          src={`/api/v1/cameras/${camera}/picture?${taken}`}
          alt={t.livePicture(cameraName(camera))}
          draggable={false}
          onClick={(event) => onClick(place(event))}
        />
        {marks.map(({ index, at }) => (
          <button
            type="button"
            key={index}
            class="mark"
            style={position(at)}
            aria-label={t.panorama.point(index + 1)}
            title={t.panorama.pointTitle}
            onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
            onPointerMove={(event) => {
              if (event.currentTarget.hasPointerCapture(event.pointerId)) onMove(index, place(event));
            }}
            onDblClick={() => onRemove(index)}
            onKeyDown={(event) => {
              const by = ARROWS[event.key];
              if (event.key === "Delete") onRemove(index);
              if (!by) return;
              event.preventDefault();
              const far = event.shiftKey ? 10 : 1;
              onMove(index, [within(at[0] + far * by[0]), within(at[1] + far * by[1])]);
            }}
          >
            {index + 1}
          </button>
        ))}
        {begun && <span class="mark begun" style={position(begun)} aria-hidden="true" />}
      </div>
      <figcaption>{cameraName(camera)}</figcaption>
    </figure>
  );
}
