import { useState } from "preact/hooks";
import { ApiError, command } from "../api";
import { texts } from "../i18n";
import { findSession } from "../state";
import { LanguageSwitch } from "./app";
import { Mark } from "./icons";

/** Characters of a password, at least. */
export const SHORTEST = 10;

/** Sets the first password, or asks for it. */
export function SignIn({ first }: { first: boolean }) {
  const t = texts.value.session;
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (first && [...password].length < SHORTEST) return setError(t.tooShort);
    if (first && password !== again) return setError(t.different);
    setBusy(true);
    setError("");
    try {
      await command("POST", first ? "/session/setup" : "/session", { password });
    } catch (failure) {
      const problem = failure instanceof ApiError ? failure.problem : null;
      if (problem?.status === 403) setError(t.wrong);
      else if (problem?.status === 429) setError(t.wait(problem.retry_after_s ?? 1));
      else if (problem?.status !== 409) setError(texts.value.failed(problem?.detail ?? texts.value.unreachable));
      if (problem?.status !== 409) return;
    } finally {
      setBusy(false);
    }
    await findSession();
  }

  return (
    <main class="door">
      <form class="card" onSubmit={(event) => void submit(event)}>
        <Mark />
        <h1>{first ? t.welcome : "Synoptic"}</h1>
        <p class="muted">{first ? t.setUpText : t.signInText}</p>
        <input type="text" name="username" autocomplete="username" value="synoptic" hidden readOnly />
        <label>
          {t.password}
          <input
            type="password"
            name="password"
            required
            autocomplete={first ? "new-password" : "current-password"}
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
          {first && <small>{t.hint}</small>}
        </label>
        {first && (
          <label>
            {t.repeat}
            <input
              type="password"
              name="repeat"
              required
              autocomplete="new-password"
              value={again}
              onInput={(event) => setAgain(event.currentTarget.value)}
            />
          </label>
        )}
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <button type="submit" class="primary" disabled={busy}>
          {first ? t.setUp : t.signIn}
        </button>
        <LanguageSwitch />
      </form>
    </main>
  );
}
