import { describe, expect, it } from "vitest";
import type { UpdateDoc } from "./documents";
import { en } from "./texts/en";
import { zh } from "./texts/zh";
import { atRest, cancellable, patience, plain, progress, TONES } from "./update";

const doc = (more: Partial<UpdateDoc>): UpdateDoc => ({
  unavailable: null,
  version: "1.0.0",
  compatible: "box",
  slot: "A",
  slots: [],
  floor: null,
  job: 1,
  state: "idle",
  since: null,
  stage: null,
  reason: null,
  note: null,
  source: null,
  new_version: null,
  bytes: null,
  total_bytes: null,
  percent: null,
  rollback_reason: null,
  files: [],
  ...more,
});

describe("update", () => {
  it("has plain words for what the health gate writes", () => {
    const kinds = [
      ["the daemon ended 12 times; last: the daemon is not ready", "died"],
      ["the page does not answer (HTTP 503)", "page"],
      ["the daemon is not ready", "not_ready"],
      ["the daemon was never ready", "not_ready"],
      ["the data partition cannot be written", "disk"],
      ["the new system in slot B did not start; slot A runs", "no_start"],
      ["slot B was installed, but slot A runs, and nobody left a reason", "unknown_slot"],
      ["something new", null],
    ] as const;
    for (const [reason, kind] of kinds) {
      expect(plain(reason)).toBe(kind);
      for (const texts of [en, zh]) if (kind) expect(texts.update.reasons[kind]).not.toBe("");
    }
  });
  it("has a name and a tone for each state", () => {
    for (const state of Object.keys(TONES) as (keyof typeof TONES)[]) {
      for (const texts of [en, zh]) expect(texts.update.states[state].length).toBeGreaterThan(1);
    }
  });
  it("knows how far it is, where somebody does", () => {
    expect(progress(doc({ state: "downloading", bytes: 5, total_bytes: 20 }))).toBe(0.25);
    expect(progress(doc({ state: "downloading", bytes: 5 }))).toBeNull();
    expect(progress(doc({ state: "installing", percent: 40 }))).toBe(0.4);
    expect(progress(doc({ state: "verifying" }))).toBeNull();
  });
  it("asks often only while something moves", () => {
    expect(patience(doc({ state: "installing" }))).toBeLessThan(patience(doc({ state: "committed" })));
    expect(patience(null)).toBe(patience(doc({})));
    expect((Object.keys(TONES) as (keyof typeof TONES)[]).filter(cancellable)).toEqual([
      "checking",
      "downloading",
      "preflight",
    ]);
    expect(atRest("reboot_pending")).toBe(false);
  });
});
