import { describe, expect, it } from "vitest";
import type { AnyEventDoc, EventDoc, GpuDoc, PacketLine, SystemEventDoc } from "./documents";
import { lasted, matches, merged, pictureUrl, query, SYSTEM, withoutPicture } from "./events";
import { bound, bytes, duration, freeId, gpuChip, gpuFigures, lastedText, signed, slug, span } from "./format";
import { History, niceLimit, phaseReach } from "./history";
import { preferred } from "./i18n";
import { en } from "./texts/en";
import { zh } from "./texts/zh";

describe("format", () => {
  it("gives spans a unit that fits", () => {
    expect([0.04, 0.8, 9.94, 12.3, 999, 2003.4, -2003.4, 120_000].map(span)).toEqual([
      "0.0 ms",
      "0.8 ms",
      "9.9 ms",
      "12 ms",
      "999 ms",
      "2.00 s",
      "−2.00 s",
      "120 s",
    ]);
    expect([signed(3.2), signed(-3.2), signed(0)]).toEqual(["+3.2 ms", "−3.2 ms", "0.0 ms"]);
    expect([bound(3), bound(null)]).toEqual(["± 3.0 ms", "± ?"]);
  });
  it("gives durations their two largest units", () => {
    expect([0, 59.4, 200, 7500, 349_200].map(duration)).toEqual(["0 s", "59 s", "3 min 20 s", "2 h 5 min", "4 d 1 h"]);
    expect([0.42, 9.94, 9.96, 200].map(lastedText)).toEqual(["0.4 s", "9.9 s", "10 s", "3 min 20 s"]);
  });
  it("gives bytes a unit that fits", () => {
    expect([0, 640_000, 1_240_000_000, 20e9].map(bytes)).toEqual(["0 B", "640 kB", "1.2 GB", "20 GB"]);
  });
  it("says how a GPU is, and first why it is slow", () => {
    const orin: GpuDoc = {
      index: 0,
      name: "Orin",
      temperature_c: 61.5,
      power_w: 9.2,
      load: 0.43,
      clock_mhz: 612,
      clock_max_mhz: 918,
      memory_used_bytes: null,
      memory_bytes: null,
      throttled: null,
    };
    expect(gpuChip(orin)).toBe("GPU 62 °C · 43 %");
    expect(gpuFigures(orin)).toBe("Orin\n9.2 W\n612 / 918 MHz");
    const silent = { ...orin, index: 1, temperature_c: null, load: null, power_w: null, clock_mhz: null };
    expect(gpuChip(silent)).toBe("GPU 1");
    const hot = { ...silent, memory_used_bytes: 2e9, memory_bytes: 16e9, throttled: "too hot" };
    expect(gpuFigures(hot)).toBe("too hot\nOrin\n2.0 GB / 16 GB");
  });
  it("makes ids from names", () => {
    expect(["Front gate", " Tür 2 ", "前门", "--x--", "a".repeat(40)].map(slug)).toEqual([
      "front-gate",
      "tur-2",
      "",
      "x",
      "a".repeat(31),
    ]);
    expect(freeId("", [])).toBe("camera");
    expect(freeId("a", ["a", "a-2"])).toBe("a-3");
    expect(freeId("a".repeat(31), ["a".repeat(31)])).toHaveLength(31);
  });
});

function packet(second: number, phase: number | null): PacketLine {
  const status = phase === null ? "dropped" : "okay";
  const slot = { cam: "a", status, frame: null, kind: null, capture: null, phase_ms: phase } as const;
  return { group: "g", id: second, utc: new Date(second * 1000).toISOString(), spread_ms: 1, slots: [slot] };
}

describe("history", () => {
  it("keeps a minute", () => {
    const history = new History();
    for (let s = 0; s < 100; s += 1) history.add(packet(s, s % 7), 0);
    expect(history.samples).toHaveLength(61);
    expect(history.samples[0]?.at).toBe(39_000);
    expect(phaseReach(history.samples)).toBe(6);
    history.add(packet(99, null), 5);
    expect(history.samples.at(-1)?.phases.get("a")).toBeNull();
    expect(history.now(1005)).toBe(100_000);
  });
  it("begins anew when time is stepped", () => {
    const history = new History();
    history.add(packet(500, 1), 0);
    history.add(packet(10, 1), 0);
    expect(history.samples).toHaveLength(1);
    history.add(packet(1000, 1), 0);
    expect(history.samples).toHaveLength(1);
  });
  it("rounds axes up", () => {
    expect([0, 0.3, 1, 3, 12, 60].map(niceLimit)).toEqual([1, 0.5, 1, 5, 20, 100]);
  });
});

function event(id: string, extra: Partial<EventDoc> = {}): EventDoc {
  const begin = { utc: "2026-11-21T10:00:00.000000Z", error_ms: 1, rel_error_ms: 1, source: "ptp" };
  return {
    type: "track",
    id,
    cam: "a",
    track: 1,
    label: "car",
    score: 1,
    bbox: [0, 0, 1, 1],
    detector: "motion",
    begin,
    restamped: null,
    end: null,
    ended_by: null,
    frame: "a/1/2",
    picture: null,
    ...extra,
  };
}

describe("events", () => {
  const all = { cam: "", label: "" };
  it("come in order, once each", () => {
    let list: AnyEventDoc[] = [];
    for (const id of ["2", "1", "3", "2"]) list = merged(list, event(id), all, 50);
    expect(list.map((e) => e.id)).toEqual(["3", "2", "1"]);
    list = merged(list, event("2", { score: 0.5 }), all, 50);
    expect(list[1]).toEqual(event("2", { score: 0.5 }));
    expect(merged(list, event("0"), all, 3)).toHaveLength(3);
  });
  it("respect the filter", () => {
    expect(merged([], event("1"), { cam: "b", label: "" }, 9)).toEqual([]);
    expect(merged([], event("1"), { cam: "a", label: "car" }, 9)).toHaveLength(1);
  });
  it("have a duration and a picture", () => {
    const begin = event("1").begin;
    expect(lasted(event("1"))).toBeNull();
    expect(lasted(event("1", { end: { ...begin, utc: "2026-11-21T10:00:02.500000Z" } }))).toBe(2.5);
    expect(pictureUrl(event("1"))).toBeNull();
    expect(pictureUrl(event("1", { picture: "/p" }))).toBe("/p?frame=a%2F1%2F2");
    const pictures = ["1", "2"].map((id) => event(id, { picture: "/p" }));
    expect(withoutPicture(pictures, "2").map((e) => e.type === "track" && e.picture)).toEqual(["/p", null]);
  });
  it("of the system stand among the others and have a filter of their own", () => {
    const step: SystemEventDoc = {
      schema: 1,
      id: "2",
      type: "box_clock_step",
      cam: null,
      utc: event("2").begin.utc,
      error_ms: null,
      boot_id: "b",
      from: null,
      to: null,
      step_ms: 3000,
      reason: null,
      untold: 0,
    };
    const list = merged([event("3"), event("1")], step, all, 9);
    expect(list.map((e) => e.id)).toEqual(["3", "2", "1"]);
    const steps = { cam: "", label: `${SYSTEM}box_clock_step` };
    expect([matches(step, steps), matches(event("1"), steps), matches(step, { cam: "a", label: "" })]).toEqual([
      true,
      false,
      false,
    ]);
    expect(query(steps)).toEqual({ type: "box_clock_step" });
    expect(query({ cam: "a", label: "car" })).toEqual({ cam: "a", label: "car" });
  });
});

describe("languages", () => {
  it("follow the browser", () => {
    expect([["zh-TW", "en"], ["de", "zh"], ["de"], []].map(preferred)).toEqual(["zh", "zh", "en", "en"]);
  });
  it("leave nothing empty", () => {
    const texts = (value: unknown): string[] =>
      typeof value === "string"
        ? [value]
        : typeof value === "function"
          ? [String(value(1, 2))]
          : Object.values(value as object).flatMap(texts);
    for (const dictionary of [en, zh]) expect(texts(dictionary).filter((text) => !text.trim())).toEqual([]);
    expect(Object.keys(zh.labels)).toEqual(Object.keys(en.labels));
    expect(Object.keys(zh.timeSources)).toEqual(Object.keys(en.timeSources));
  });
});
