import { useEffect, useRef, useState } from "preact/hooks";
import { command, get } from "../api";
import type { UpdateDoc } from "../documents";
import { bytes, dayTime } from "../format";
import { locale, texts } from "../i18n";
import { complain } from "../state";
import { atRest, cancellable, patience, plain, progress, TONES } from "../update";
import { UpdateForm } from "./update-form";

/** What system the box runs, and how it gets another one. */
export function Update() {
  const t = texts.value.update;
  const [doc, setDoc] = useState<UpdateDoc | null>(null);
  const [open, setOpen] = useState(false);
  const asked = useRef(0);

  // Asks again by itself; `now` asks at once, after a button.
  async function ask(): Promise<void> {
    clearTimeout(asked.current);
    let next: UpdateDoc | null = doc;
    try {
      next = await get<UpdateDoc>("/update");
      setDoc(next);
    } catch {
      // The banner tells a box that does not answer, as while it restarts.
    }
    clearTimeout(asked.current);
    asked.current = window.setTimeout(() => void ask(), patience(next));
  }
  useEffect(() => {
    void ask();
    return () => clearTimeout(asked.current);
  }, []);
  if (!doc) return null;

  function run(method: "POST" | "DELETE", path: string): void {
    command(method, path)
      .then(() => ask())
      .catch(complain);
  }
  const running = doc.slots.find((slot) => slot.booted);
  const other = doc.slots.find((slot) => !slot.booted && slot.bootname);
  return (
    <section aria-labelledby="update">
      <header>
        <h2 id="update">{t.title}</h2>
      </header>
      <article class="card update" data-update={doc.state}>
        <div class="title">
          <h3>
            {t.version} {doc.version}
          </h3>
          <span class={`chip ${TONES[doc.state]}`}>{t.states[doc.state]}</span>
        </div>
        <Told doc={doc} />
        <dl class="figures">
          <div>
            <dt>{t.slot}</dt>
            <dd>
              <strong>{running?.bootname ?? doc.slot ?? "–"}</strong>
              {doc.compatible && <small>{doc.compatible}</small>}
            </dd>
          </div>
          <div>
            <dt title={t.otherHint}>{t.other}</dt>
            <dd>
              <strong>{other?.bootname ?? "–"}</strong>
              {other && (
                <small>
                  {other.version ?? t.flashed}
                  {other.good === false && ` · ${t.bad}`}
                </small>
              )}
            </dd>
          </div>
          {doc.since && doc.state !== "idle" && (
            <div>
              <dt>{t.since}</dt>
              <dd>
                <strong>{dayTime(doc.since, locale(), new Date())}</strong>
                {doc.source && <small>{doc.source}</small>}
              </dd>
            </div>
          )}
        </dl>
        {!doc.unavailable && (
          <footer>
            {atRest(doc.state) && (
              <button type="button" onClick={() => setOpen(true)}>
                {t.begin}
              </button>
            )}
            {cancellable(doc.state) && (
              <button type="button" onClick={() => run("DELETE", "/update")}>
                {texts.value.cancel}
              </button>
            )}
            {doc.state === "reboot_pending" && (
              <button type="button" class="primary" onClick={() => run("POST", "/update/reboot")}>
                {t.reboot}
              </button>
            )}
            {atRest(doc.state) && doc.state !== "idle" && (
              <button type="button" onClick={() => run("DELETE", "/update")}>
                {t.forget}
              </button>
            )}
          </footer>
        )}
        {open && <UpdateForm files={doc.files} onBegun={() => void ask()} onClose={() => setOpen(false)} />}
      </article>
    </section>
  );
}

/** What there is to say of an update, in plain words; the box's own are behind them. */
function Told({ doc }: { doc: UpdateDoc }) {
  const t = texts.value.update;
  const done = progress(doc);
  const wentBack = doc.state === "rolled_back" ? doc.reason : atRest(doc.state) ? doc.rollback_reason : null;
  const kind = wentBack ? plain(wentBack) : null;
  return (
    <>
      {doc.unavailable && (
        <p class="muted">
          {t.unavailable} <small>{doc.unavailable}</small>
        </p>
      )}
      {doc.new_version && !atRest(doc.state) && <p>{t.to(doc.new_version)}</p>}
      {!atRest(doc.state) && done === null && doc.state !== "reboot_pending" && <progress aria-label={t.progress} />}
      {done !== null && <progress aria-label={t.progress} value={done} max={1} />}
      {doc.state === "downloading" && doc.bytes !== null && (
        <p class="muted">{doc.total_bytes ? `${bytes(doc.bytes)} / ${bytes(doc.total_bytes)}` : bytes(doc.bytes)}</p>
      )}
      {doc.state === "installing" && <p class="muted">{t.installingHint}</p>}
      {doc.state === "verifying" && <p class="muted">{t.verifyingHint}</p>}
      {doc.state === "failed" && (
        <p class="reason" role="alert">
          {t.failedHint} {doc.reason}
        </p>
      )}
      {wentBack && (
        <p class="reason" role="alert" title={wentBack}>
          {t.wentBack} {kind ? t.reasons[kind] : wentBack}
          {kind && <small>{wentBack}</small>}
        </p>
      )}
      {doc.note && <p class="reason">{doc.note}</p>}
    </>
  );
}
