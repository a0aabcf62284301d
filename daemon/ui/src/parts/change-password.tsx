import { useState } from "preact/hooks";
import { ApiError, command } from "../api";
import { texts } from "../i18n";
import { notice } from "../state";
import { Dialog } from "./dialog";
import { SHORTEST } from "./sign-in";

/** Changes the password of the box; all other sessions end with it. */
export function ChangePassword({ onClose }: { onClose: () => void }) {
  const t = texts.value.session;
  const [old, setOld] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if ([...password].length < SHORTEST) return setError(t.tooShort);
    if (password !== again) return setError(t.different);
    setBusy(true);
    setError("");
    try {
      await command("POST", "/password", { old, new: password });
    } catch (failure) {
      const problem = failure instanceof ApiError ? failure.problem : null;
      if (problem?.status === 403) setError(t.oldWrong);
      else if (problem?.status === 429) setError(t.wait(problem.retry_after_s ?? 1));
      else setError(texts.value.failed(problem?.detail ?? texts.value.unreachable));
      return;
    } finally {
      setBusy(false);
    }
    notice.value = { text: t.changed, bad: false };
    onClose();
  }

  const field = (label: string, name: string, complete: string, value: string, set: (text: string) => void) => (
    <label>
      {label}
      <input
        type="password"
        name={name}
        required
        autocomplete={complete}
        value={value}
        onInput={(event) => set(event.currentTarget.value)}
      />
    </label>
  );
  return (
    <Dialog title={t.change} onClose={onClose}>
      <form class="password" onSubmit={(event) => void submit(event)}>
        <p class="muted">{t.changeText}</p>
        <input type="text" name="username" autocomplete="username" value="synoptic" hidden readOnly />
        {field(t.old, "old", "current-password", old, setOld)}
        {field(t.new, "new", "new-password", password, setPassword)}
        {field(t.repeat, "repeat", "new-password", again, setAgain)}
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <button type="submit" class="primary" disabled={busy}>
          {t.change}
        </button>
      </form>
    </Dialog>
  );
}
