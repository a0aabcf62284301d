import { useEffect, useState } from "preact/hooks";
import { ApiError, command, get, post } from "../api";
import type { Choices, NewCamera, ProbeDoc } from "../documents";
import { freeId, signed, slug } from "../format";
import { texts } from "../i18n";
import { complain, notice, status } from "../state";
import { Dialog } from "./dialog";
import { Field } from "./field";
import { Check, Warn } from "./icons";

type Kind = "network" | "device" | "file";
const KINDS: readonly Kind[] = ["network", "device", "file"];

const BLANK = {
  kind: "network" as Kind,
  source: "",
  user: "",
  password: "",
  transport: "tcp" as "tcp" | "udp",
  name: "",
  id: "",
  detector: "",
  group: "",
};
type Draft = typeof BLANK;

function request(draft: Draft): NewCamera {
  const network = draft.kind === "network";
  const text = (value: string) => value.trim() || null;
  return {
    id: idOf(draft),
    name: draft.name.trim() || idOf(draft),
    source: draft.source.trim(),
    user: network ? text(draft.user) : null,
    password: network ? draft.password || null : null,
    transport: network ? draft.transport : null,
    detector: text(draft.detector),
    group: text(draft.group),
  };
}

function idOf(draft: Draft): string {
  const taken = status.value?.cameras.map((camera) => camera.id) ?? [];
  return draft.id || freeId(slug(draft.name), taken);
}

/** What a test depends on: a change of it makes the last test worthless. */
function tested(draft: Draft): string {
  return JSON.stringify([draft.kind, draft.source, draft.user, draft.password, draft.transport]);
}

export function AddCamera({ onClose }: { onClose: () => void }) {
  const t = texts.value.form;
  const [draft, setDraft] = useState<Draft>(BLANK);
  const [choices, setChoices] = useState<Choices>({ detectors: [], groups: [], devices: [] });
  const [busy, setBusy] = useState<"test" | "save" | null>(null);
  const [probe, setProbe] = useState<{ of: string; doc: ProbeDoc } | null>(null);
  const [error, setError] = useState<{ field: string | null; text: string } | null>(null);

  useEffect(() => {
    get<Choices>("/choices")
      .then((found) => {
        setChoices(found);
        setDraft((old) => ({ ...old, detector: old.detector || (found.detectors[0] ?? "") }));
      })
      .catch(complain);
  }, []);

  const set = (change: Partial<Draft>) => {
    setError(null);
    setDraft((old) => ({ ...old, ...change }));
  };
  const field = (name: keyof Draft) => ({
    name,
    value: draft[name],
    onInput: (event: { currentTarget: { value: string } }) => set({ [name]: event.currentTarget.value }),
    "aria-invalid": error?.field === name,
  });
  const current = probe && probe.of === tested(draft) ? probe.doc : null;

  function failed(failure: unknown): void {
    const problem = failure instanceof ApiError ? failure.problem : null;
    setError({ field: problem?.field ?? null, text: problem?.detail ?? texts.value.unreachable });
  }
  async function test(): Promise<void> {
    setBusy("test");
    setError(null);
    setProbe(null);
    try {
      const doc = await post<ProbeDoc>("/cameras/test", request(draft));
      setProbe({ of: tested(draft), doc });
    } catch (failure) {
      failed(failure);
    }
    setBusy(null);
  }
  async function save(): Promise<void> {
    setBusy("save");
    setError(null);
    const camera = request(draft);
    try {
      await command("POST", "/cameras", camera);
      notice.value = { text: t.saved(camera.name), bad: false };
      onClose();
    } catch (failure) {
      failed(failure);
      setBusy(null);
    }
  }

  return (
    <Dialog title={t.title} wide onClose={onClose}>
      <form
        class="add"
        onSubmit={(event) => {
          event.preventDefault();
          void (current ? save() : test());
        }}
      >
        <fieldset class="kinds" disabled={busy !== null}>
          <legend>{t.kind}</legend>
          {KINDS.map((kind) => (
            <label key={kind} class={draft.kind === kind ? "on" : ""}>
              <input
                type="radio"
                name="kind"
                checked={draft.kind === kind}
                onChange={() => set({ kind, source: kind === "device" ? (choices.devices[0]?.path ?? "") : "" })}
              />
              {t[kind]}
            </label>
          ))}
        </fieldset>
        <fieldset class="fields" disabled={busy !== null}>
          {draft.kind === "network" && (
            <>
              <Field label={t.url} hint={t.urlHint} wide>
                <input
                  {...field("source")}
                  type="text"
                  inputMode="url"
                  required
                  placeholder="rtsp://192.168.1.20/stream1"
                  autocomplete="off"
                  spellcheck={false}
                />
              </Field>
              <Field label={t.user}>
                <input {...field("user")} type="text" autocomplete="off" spellcheck={false} />
              </Field>
              <Field label={t.password}>
                <input {...field("password")} type="password" autocomplete="new-password" />
              </Field>
              <Field label={t.transport} wide>
                <select {...field("transport")}>
                  <option value="tcp">{t.tcp}</option>
                  <option value="udp">{t.udp}</option>
                </select>
              </Field>
            </>
          )}
          {draft.kind === "device" && (
            <Field label={t.devicePath} hint={choices.devices.length === 0 ? t.noDevices : ""} wide>
              {choices.devices.length > 0 ? (
                <select {...field("source")}>
                  {choices.devices.map((device) => (
                    <option key={device.path} value={device.path}>
                      {device.name} ({device.path})
                    </option>
                  ))}
                </select>
              ) : (
                <input {...field("source")} type="text" required placeholder="/dev/video0" autocomplete="off" />
              )}
            </Field>
          )}
          {draft.kind === "file" && (
            <Field label={t.path} wide>
              <input
                {...field("source")}
                type="text"
                required
                placeholder="/data/clip.mp4"
                autocomplete="off"
                spellcheck={false}
              />
            </Field>
          )}
          <Field label={t.name}>
            <input
              {...field("name")}
              type="text"
              required
              maxLength={64}
              placeholder={t.namePlaceholder}
              autocomplete="off"
            />
          </Field>
          <Field label={t.id} hint={t.idHint}>
            <input
              {...field("id")}
              type="text"
              pattern="[a-z0-9][a-z0-9_\-]{0,30}"
              maxLength={31}
              placeholder={idOf(draft)}
              autocomplete="off"
              spellcheck={false}
            />
          </Field>
          <Field label={t.detector}>
            <select {...field("detector")}>
              <option value="">{t.noDetector}</option>
              {choices.detectors.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </Field>
          <Field label={t.group}>
            <select {...field("group")}>
              <option value="">{t.noGroup}</option>
              {choices.groups.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </Field>
        </fieldset>
        {error && (
          <p class="error" role="alert">
            {error.text}
          </p>
        )}
        {busy === "test" && (
          <p class="busy" role="status">
            <span class="spinner" aria-hidden="true" />
            {t.testing}
          </p>
        )}
        {current && <Verdict doc={current} />}
        <footer>
          {!current && busy === null && <span class="muted">{t.testFirst}</span>}
          <button type="button" disabled={busy !== null || !draft.source.trim()} onClick={() => void test()}>
            {current ? t.testAgain : t.test}
          </button>
          <button type="submit" class="primary" disabled={busy !== null || !current}>
            {busy === "save" ? t.saving : current && !current.usable ? t.saveAnyway : t.save}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Verdict({ doc }: { doc: ProbeDoc }) {
  const t = texts.value;
  const rate = doc.fps_delivered === null ? null : `${doc.fps_delivered.toFixed(1)} fps`;
  const size = doc.width === null ? null : `${doc.width}×${doc.height}`;
  const source = doc.time_source && (t.timeSources[doc.time_source] ?? doc.time_source);
  const offset = doc.clock_offset_ms === null ? null : `${t.cameraClock} ${signed(doc.clock_offset_ms)}`;
  const facts = [doc.codec, size, rate, source, offset].filter((fact) => fact !== null);
  return (
    <section class={doc.usable ? "verdict good" : "verdict bad"} role="status" aria-label={t.form.facts}>
      {doc.picture_base64 && <img src={`data:image/jpeg;base64,${doc.picture_base64}`} alt={t.form.picture} />}
      <div>
        <h3>
          {doc.usable ? <Check /> : <Warn />}
          {doc.usable ? t.form.usable : t.form.notUsable}
        </h3>
        <p>{doc.verdict}</p>
        {facts.length > 0 && <p class="muted">{facts.join(" · ")}</p>}
        {doc.findings.length > 0 && (
          <ul>
            {doc.findings.map((finding) => (
              <li key={finding}>{finding}</li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}
