import { useEffect, useState } from "preact/hooks";
import { command } from "../api";
import { bound, bytes, duration, gpuChip, gpuFigures } from "../format";
import { choose, language, texts } from "../i18n";
import { complain, findSession, link, notice, session, status } from "../state";
import { Cameras } from "./cameras";
import { ChangePassword } from "./change-password";
import { Events } from "./events";
import { Cross, Globe, Key, Leave, Mark } from "./icons";
import { Panoramas } from "./panoramas";
import { SignIn } from "./sign-in";
import { Sync } from "./sync";
import { Update } from "./update";
import { VirtualCameras } from "./virtual-cameras";

export function App() {
  useEffect(() => {
    document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  }, [language.value]);
  const name = status.value?.device.name;
  useEffect(() => {
    document.title = name ? `${name} · Synoptic` : "Synoptic";
  }, [name]);
  const known = session.value;
  return (
    <>
      <Banner />
      {known && !known.signed_in ? <SignIn first={!known.set_up} /> : status.value ? <Dashboard /> : <Waiting />}
      <Toast />
    </>
  );
}

function Waiting() {
  return (
    <main class="waiting" aria-busy="true">
      <Mark />
      <p>{link.value === "connecting" && session.value?.signed_in ? texts.value.starting : texts.value.loading}</p>
    </main>
  );
}

function Dashboard() {
  return (
    <div class={link.value === "lost" ? "dashboard stale" : "dashboard"}>
      <Header />
      <main>
        <div class="column">
          <Panoramas />
          <Cameras />
          <VirtualCameras />
          <Sync />
          <Update />
        </div>
        <Events />
      </main>
    </div>
  );
}

function Header() {
  const t = texts.value;
  const [changing, setChanging] = useState(false);
  const doc = status.value;
  if (!doc) return null;
  const { device, clock, mqtt, storage } = doc;
  const tone = { online: "good", degraded: "warn", updating: "warn", offline: "bad" }[doc.status.state];
  const broker = { off: "idle", connecting: "warn", connected: "good" }[mqtt.state];
  return (
    <header class="top">
      <Mark />
      <div class="who">
        <h1 title={device.name}>{device.name}</h1>
        <p>
          Synoptic {device.version} · {device.model ? `${device.model} · ` : ""}
          {t.uptime(duration(doc.uptime_s))}
        </p>
      </div>
      <div class="chips">
        <span class={`chip ${tone}`}>{t.deviceState[doc.status.state]}</span>
        <span
          class={`chip ${clock.synchronised ? "good" : "warn"}`}
          title={clock.synchronised ? t.clockHint : t.clockBadHint}
        >
          {clock.synchronised ? t.clockGood(bound(clock.error_ms)) : t.clockBad}
        </span>
        <span class={`chip ${broker}`} title={mqtt.error ?? mqtt.broker ?? ""}>
          {t.brokerState[mqtt.state]}
          {mqtt.outbox > 0 && ` · ${t.outbox(mqtt.outbox)}`}
        </span>
        <span
          class={`chip ${{ okay: "good", full: "good", disk_short: "warn", failing: "bad" }[storage.state]}`}
          title={
            storage.error ?? t.storageHint(bytes(storage.bytes), bytes(storage.max_bytes), bytes(storage.free_bytes))
          }
        >
          {t.storageState[storage.state]}
        </span>
        {doc.gpus.map((gpu) => (
          <span
            key={gpu.index}
            class={`chip ${gpu.throttled ? "warn" : "good"}`}
            data-gpu={gpu.index}
            title={gpuFigures(gpu)}
          >
            {gpuChip(gpu)}
          </span>
        ))}
        {doc.restart_needed.length > 0 && (
          <span class="chip warn" title={doc.restart_needed.join(", ")}>
            {t.restartNeeded}
          </span>
        )}
      </div>
      <div class="tools">
        <LanguageSwitch />
        {session.value?.needed && (
          <button
            type="button"
            class="plain"
            aria-label={t.session.change}
            title={t.session.change}
            onClick={() => setChanging(true)}
          >
            <Key />
          </button>
        )}
        {session.value?.needed && (
          <button
            type="button"
            class="plain"
            aria-label={t.signOut}
            title={t.signOut}
            onClick={() => command("DELETE", "/session").then(findSession).catch(complain)}
          >
            <Leave />
          </button>
        )}
      </div>
      {changing && <ChangePassword onClose={() => setChanging(false)} />}
    </header>
  );
}

export function LanguageSwitch() {
  const other = language.value === "en" ? "zh" : "en";
  return (
    <button
      type="button"
      class="plain language"
      lang={other}
      title={texts.value.switchLanguage}
      onClick={() => choose(other)}
    >
      <Globe />
      {other === "zh" ? "中文" : "English"}
    </button>
  );
}

function Banner() {
  if (link.value !== "lost") return null;
  return (
    <div class="banner" role="alert">
      <span class="spinner" aria-hidden="true" />
      {texts.value.connectionLost}
      <button type="button" onClick={() => void findSession()}>
        {texts.value.retryNow}
      </button>
    </div>
  );
}

function Toast() {
  const current = notice.value;
  useEffect(() => {
    if (!current) return;
    const timer = setTimeout(() => {
      notice.value = null;
    }, 6000);
    return () => clearTimeout(timer);
  }, [current]);
  const t = texts.value;
  return (
    <div class="toasts" role="status" aria-live="polite">
      {current && (
        <div class={current.bad ? "toast bad" : "toast"}>
          {current.bad ? t.failed(current.text || t.unreachable) : current.text}
          <button
            type="button"
            class="plain"
            aria-label={t.dismiss}
            onClick={() => {
              notice.value = null;
            }}
          >
            <Cross />
          </button>
        </div>
      )}
    </div>
  );
}
