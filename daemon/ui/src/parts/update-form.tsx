import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, command, upload } from "../api";
import type { MediaFile } from "../documents";
import { bytes } from "../format";
import { texts } from "../i18n";
import { Dialog } from "./dialog";

interface Props {
  files: MediaFile[];
  onBegun: () => void;
  onClose: () => void;
}

/** Where the new system comes from: a file of the visitor's, an address, or a stick in the box. */
export function UpdateForm({ files, onBegun, onClose }: Props) {
  const t = texts.value.update;
  const [file, setFile] = useState<File | null>(null);
  const [url, setUrl] = useState("");
  const [stick, setStick] = useState("");
  const [reboot, setReboot] = useState(true);
  const [downgrade, setDowngrade] = useState(false);
  const [force, setForce] = useState(false);
  const [sent, setSent] = useState<number | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const stop = useRef<AbortController | null>(null);
  // A dialog that is closed ends its upload.
  useEffect(() => () => stop.current?.abort(), []);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError("");
    const options = { reboot, allow_downgrade: downgrade, force };
    try {
      if (file) {
        const query = new URLSearchParams({ name: file.name });
        for (const [name, value] of Object.entries(options)) query.set(name, String(value));
        stop.current = new AbortController();
        setSent(0);
        onBegun();
        await upload(`/update?${query}`, file, setSent, stop.current.signal);
      } else {
        await command("POST", "/update", { ...(stick ? { file: stick } : { url }), ...options });
      }
    } catch (failure) {
      const problem = failure instanceof ApiError ? failure.problem : null;
      setError(texts.value.failed(problem?.detail ?? texts.value.unreachable));
      return;
    } finally {
      setBusy(false);
      setSent(null);
      onBegun();
    }
    onClose();
  }

  const check = (label: string, value: boolean, set: (on: boolean) => void) => (
    <label class="check">
      <input type="checkbox" checked={value} onChange={(event) => set(event.currentTarget.checked)} />
      {label}
    </label>
  );
  return (
    <Dialog title={t.begin} onClose={onClose}>
      <form class="update-form" onSubmit={(event) => void submit(event)}>
        <p class="muted">{t.formText}</p>
        <div class="fields">
          <label class="wide">
            {t.file}
            <input
              type="file"
              accept=".raucb"
              disabled={busy}
              onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
            />
          </label>
          {!file && (
            <label class="wide">
              {t.url}
              <input
                type="url"
                placeholder="https://…/box.raucb"
                value={url}
                disabled={busy || stick !== ""}
                onInput={(event) => setUrl(event.currentTarget.value)}
              />
            </label>
          )}
          {!file && files.length > 0 && (
            <label class="wide">
              {t.stick}
              <select value={stick} disabled={busy} onChange={(event) => setStick(event.currentTarget.value)}>
                <option value="">–</option>
                {files.map((found) => (
                  <option key={found.path} value={found.path}>
                    {found.path.split("/").pop()} ({bytes(found.bytes)})
                  </option>
                ))}
              </select>
            </label>
          )}
        </div>
        {check(t.rebootAtOnce, reboot, setReboot)}
        {check(t.allowDowngrade, downgrade, setDowngrade)}
        {check(t.force, force, setForce)}
        {sent !== null && file && (
          <>
            <progress aria-label={t.sending} value={sent} max={file.size} />
            <p class="muted">
              {t.sending} {bytes(sent)} / {bytes(file.size)}
            </p>
          </>
        )}
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <footer>
          <button type="button" onClick={onClose}>
            {texts.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || !(file || url || stick)}>
            {t.install}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
