import { useEffect, useState } from "preact/hooks";
import { ApiError, command, get } from "../api";
import type { VirtualCameraDoc, VirtualCameraSettings } from "../documents";
import { freeId, slug } from "../format";
import { texts } from "../i18n";
import { unwatch } from "../live";
import { complain, notice, status } from "../state";
import { Dialog } from "./dialog";
import { Field } from "./field";

const SIZES = ["640x360", "1280x720", "1920x1080"];

const BLANK = {
  id: "",
  name: "",
  stream: "",
  size: "1280x720",
  projection: "rectilinear",
  hfov: "",
  camera_hfov: "",
  pan: "0",
  tilt: "0",
  zoom: "1",
  labels: "",
  follow: false,
  enabled: true,
};
type Draft = typeof BLANK;

function draftOf(now: VirtualCameraSettings): Draft {
  const text = (value: string | number | null) => (value === null ? "" : String(value));
  return {
    id: now.id ?? "",
    name: now.name ?? "",
    stream: now.stream ?? "",
    size: `${now.width}x${now.height}`,
    projection: now.projection ?? BLANK.projection,
    hfov: text(now.hfov),
    camera_hfov: text(now.camera_hfov),
    pan: text(now.pan),
    tilt: text(now.tilt),
    zoom: text(now.zoom),
    labels: (now.labels ?? []).join(", "),
    follow: now.follow === "action",
    enabled: now.enabled ?? true,
  };
}

/** What can be looked at: panoramas first. */
export function sources(): { id: string; name: string; camera: boolean }[] {
  const { panoramas = [], cameras = [] } = status.value ?? {};
  return [
    ...panoramas.map(({ id, name }) => ({ id, name, camera: false })),
    ...cameras.map(({ id, name }) => ({ id, name, camera: true })),
  ];
}

function request(draft: Draft, ofCamera: boolean): Partial<VirtualCameraSettings> {
  const number = (text: string) => (text.trim() === "" ? null : Number(text));
  const [width, height] = draft.size.split("x").map(Number);
  const labels = draft.labels
    .split(",")
    .map((label) => label.trim())
    .filter((label) => label !== "");
  return {
    name: draft.name.trim() || null,
    stream: draft.stream,
    enabled: draft.enabled,
    width: width ?? null,
    height: height ?? null,
    projection: draft.projection as VirtualCameraSettings["projection"],
    hfov: number(draft.hfov),
    camera_hfov: ofCamera ? number(draft.camera_hfov) : null,
    pan: number(draft.pan),
    tilt: number(draft.tilt),
    zoom: number(draft.zoom),
    follow: draft.follow ? "action" : "none",
    labels: labels.length > 0 ? labels : null,
  };
}

/** Adds a virtual camera, or changes and removes `view`. `onDone` is called when the box has done it. */
export function VirtualCameraForm(props: {
  view: VirtualCameraDoc | null;
  taken: string[];
  onDone: () => void;
  onClose: () => void;
}) {
  const t = texts.value.virtualCamera;
  const { form } = texts.value;
  const { view, onDone, onClose } = props;
  const all = sources();
  const [draft, setDraft] = useState<Draft>({ ...BLANK, stream: all[0]?.id ?? "" });
  const [known, setKnown] = useState(view === null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<{ field: string | null; text: string } | null>(null);
  const path = view ? `/virtual-cameras/${view.id}` : "/virtual-cameras";
  useEffect(() => {
    if (!view) return;
    get<VirtualCameraSettings>(`${path}/settings`)
      .then((now) => {
        setDraft(draftOf(now));
        setKnown(true);
      })
      .catch(complain);
  }, [path, view === null]);

  const set = (change: Partial<Draft>) => {
    setError(null);
    setDraft((old) => ({ ...old, ...change }));
  };
  const field = (name: Exclude<keyof Draft, "follow" | "enabled">) => ({
    name,
    value: draft[name],
    onInput: (event: { currentTarget: { value: string } }) => set({ [name]: event.currentTarget.value }),
    "aria-invalid": error?.field === name,
  });
  const angle = (limit: number) => ({ type: "number", min: -limit, max: limit, step: "any", required: true }) as const;
  const taken = [...props.taken, ...all.map((source) => source.id)];
  const id = view?.id ?? (draft.id || freeId(slug(draft.name), taken));
  const ofCamera = all.some((source) => source.id === draft.stream && source.camera);

  async function act(work: () => Promise<void>, done: (name: string) => string): Promise<void> {
    setBusy(true);
    try {
      await work();
      notice.value = { text: done(draft.name.trim() || id), bad: false };
      onDone();
      onClose();
    } catch (failure) {
      const problem = failure instanceof ApiError ? failure.problem : null;
      setError({ field: problem?.field ?? null, text: problem?.detail ?? texts.value.unreachable });
      setBusy(false);
    }
  }
  const save = () =>
    view
      ? command("PATCH", `${path}/settings`, request(draft, ofCamera))
      : command("POST", path, { ...request(draft, ofCamera), id });
  const remove = () => {
    if (view) unwatch(view.id);
    return command("DELETE", path);
  };

  return (
    <Dialog title={view ? t.change(view.name) : t.add} wide onClose={onClose}>
      <form
        class="add"
        onSubmit={(event) => {
          event.preventDefault();
          void act(save, t.saved);
        }}
      >
        <fieldset class="fields" disabled={busy || !known}>
          <Field label={form.name}>
            <input {...field("name")} type="text" required maxLength={64} autocomplete="off" />
          </Field>
          <Field label={form.id} hint={view ? "" : form.idHint}>
            <input
              {...field("id")}
              type="text"
              pattern="[a-z0-9][a-z0-9_\-]{0,30}"
              maxLength={31}
              placeholder={id}
              disabled={view !== null}
              autocomplete="off"
              spellcheck={false}
            />
          </Field>
          <Field label={t.stream}>
            <select {...field("stream")} required>
              {all.map((source) => (
                <option key={source.id} value={source.id}>
                  {source.name}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t.size}>
            <select {...field("size")}>
              {[...new Set([...SIZES, draft.size])].map((size) => (
                <option key={size} value={size}>
                  {size.replace("x", "×")}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t.projection}>
            <select {...field("projection")}>
              {Object.entries(t.projections).map(([value, text]) => (
                <option key={value} value={value}>
                  {text}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t.hfov} hint={t.hfovHint}>
            <input {...field("hfov")} type="number" min={1} max={360} step="any" />
          </Field>
          {ofCamera && (
            <Field label={t.cameraHfov} wide>
              <input {...field("camera_hfov")} type="number" min={5} max={170} step="any" placeholder="80" />
            </Field>
          )}
          <Field label={t.home} hint={t.homeHint} wide>
            <span class="home">
              <input {...field("pan")} {...angle(180)} aria-label={t.right} />
              <input {...field("tilt")} {...angle(90)} aria-label={t.up} />
              <input {...field("zoom")} type="number" min={1} max={32} step="any" required aria-label={t.closer} />
              {view && (
                <button
                  type="button"
                  onClick={() => {
                    const { pan, tilt, zoom } = view.now;
                    set({ pan: String(pan), tilt: String(tilt), zoom: String(zoom) });
                  }}
                >
                  {t.here}
                </button>
              )}
            </span>
          </Field>
          <Field label={t.labels} hint={t.labelsHint} wide>
            <input {...field("labels")} type="text" autocomplete="off" placeholder="person, car" />
          </Field>
          <label class="tick">
            <input
              type="checkbox"
              checked={draft.follow}
              onChange={(event) => set({ follow: event.currentTarget.checked })}
            />
            {t.follow}
          </label>
          <label class="tick">
            <input
              type="checkbox"
              checked={draft.enabled}
              onChange={(event) => set({ enabled: event.currentTarget.checked })}
            />
            {t.runs}
          </label>
        </fieldset>
        {error && (
          <p class="error" role="alert">
            {error.text}
          </p>
        )}
        <footer>
          {view && (
            <button type="button" class="danger" disabled={busy} onClick={() => void act(remove, t.removed)}>
              {t.remove}
            </button>
          )}
          <button type="submit" class="primary" disabled={busy || !known}>
            {t.save}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
