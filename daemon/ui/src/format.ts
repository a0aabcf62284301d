// Numbers and times as people read them. Pure.

import type { GpuDoc } from "./documents";

/** Milliseconds with a unit that fits: `0.8 ms`, `12 ms`, `2.00 s`. */
export function span(ms: number): string {
  const size = Math.abs(ms);
  const sign = ms < 0 ? "−" : "";
  if (size >= 999.5) return `${sign}${(size / 1000).toFixed(size < 99_950 ? 2 : 0)} s`;
  return `${sign}${size.toFixed(size < 9.95 ? 1 : 0)} ms`;
}

/** An offset: always with its sign. */
export function signed(ms: number): string {
  const text = span(ms);
  return ms > 0 && !/^0\.0 /.test(text) ? `+${text}` : text;
}

/** A bound: `± 3.0 ms`. */
export function bound(ms: number | null): string {
  return ms === null ? "± ?" : `± ${span(ms)}`;
}

/** Bytes with a unit that fits: `640 kB`, `1.2 GB`. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = n;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size.toFixed(unit > 0 && size < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as the two largest units: `45 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** How long something lasted: as a duration, with tenths where they matter. */
export function lastedText(seconds: number): string {
  return seconds < 9.95 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds);
}

/** Local time of day with milliseconds, of an RFC 3339 time. */
export function clockTime(utc: string, locale: string): string {
  const time = new Date(utc);
  if (Number.isNaN(time.getTime())) return utc;
  return time.toLocaleTimeString(locale, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
  });
}

/** Local date and time; today only the time. */
export function dayTime(utc: string, locale: string, now: Date): string {
  const time = new Date(utc);
  if (Number.isNaN(time.getTime())) return utc;
  const hours = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" } as const;
  if (time.toDateString() === now.toDateString()) return time.toLocaleTimeString(locale, hours);
  return time.toLocaleString(locale, { month: "short", day: "numeric", ...hours });
}

/** An id from a name: what is allowed stays, the rest becomes hyphens. */
export function slug(name: string): string {
  const text = name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^[-_]+|-+$/g, "");
  return text.slice(0, 31).replace(/-+$/, "");
}

/** The first of `camera`, `camera-2`, … that is not taken. */
export function freeId(wanted: string, taken: readonly string[]): string {
  const base = wanted || "camera";
  if (!taken.includes(base)) return base;
  for (let n = 2; ; n += 1) {
    const id = `${base.slice(0, 30 - String(n).length)}-${n}`;
    if (!taken.includes(id)) return id;
  }
}

/** A GPU in a word: `GPU 63 °C · 71 %`, with its number where it is not the first. */
export function gpuChip(gpu: GpuDoc): string {
  const figures = [
    gpu.temperature_c !== null && `${gpu.temperature_c.toFixed(0)} °C`,
    gpu.load !== null && `${(100 * gpu.load).toFixed(0)} %`,
  ].filter((figure) => figure !== false);
  return `GPU${gpu.index > 0 ? ` ${gpu.index}` : ""}${figures.length > 0 ? ` ${figures.join(" · ")}` : ""}`;
}

/** All that is known of a GPU, why it slows itself down first. */
export function gpuFigures(gpu: GpuDoc): string {
  const memory = gpu.memory_used_bytes !== null && gpu.memory_bytes !== null;
  return [
    gpu.throttled,
    gpu.name,
    gpu.power_w !== null && `${gpu.power_w.toFixed(1)} W`,
    gpu.clock_mhz !== null &&
      `${gpu.clock_mhz.toFixed(0)}${gpu.clock_max_mhz !== null ? ` / ${gpu.clock_max_mhz.toFixed(0)}` : ""} MHz`,
    memory && `${bytes(gpu.memory_used_bytes ?? 0)} / ${bytes(gpu.memory_bytes ?? 0)}`,
  ]
    .filter((figure) => figure !== false && figure !== null)
    .join("\n");
}
