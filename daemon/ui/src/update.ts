// Updates of the box as the page tells them. Pure.

import type { UpdateDoc, UpdatePhase } from "./documents";

/** What goes wrong in ways that have plain words of their own. */
export type Plain = "died" | "page" | "not_ready" | "disk" | "no_start" | "unknown_slot";

/** What the health gate writes (systemd/box/lib/synoptic-health-gate), and what stands for it in plain words. */
const REASONS: readonly [RegExp, Plain][] = [
  [/^the daemon ended \d+ times/, "died"],
  [/^the page does not answer/, "page"],
  [/^the daemon (?:was never|is not) ready/, "not_ready"],
  [/^the data partition cannot be written/, "disk"],
  [/^the new system in slot \S+ did not start/, "no_start"],
  [/nobody left a reason$/, "unknown_slot"],
];

/** The kind of a rollback's reason; null for one that only its own words tell. */
export function plain(reason: string): Plain | null {
  return REASONS.find(([pattern]) => pattern.test(reason))?.[1] ?? null;
}

export const TONES: Record<UpdatePhase, "idle" | "good" | "warn" | "bad"> = {
  idle: "idle",
  checking: "warn",
  downloading: "warn",
  preflight: "warn",
  installing: "warn",
  reboot_pending: "warn",
  verifying: "warn",
  committed: "good",
  rolled_back: "bad",
  failed: "bad",
};

/** Nothing is under way: another update may begin. */
export function atRest(phase: UpdatePhase): boolean {
  return phase === "idle" || phase === "committed" || phase === "rolled_back" || phase === "failed";
}

/** It can be given up: nothing is written yet. */
export function cancellable(phase: UpdatePhase): boolean {
  return phase === "checking" || phase === "downloading" || phase === "preflight";
}

/** How far it is, 0 to 1; null when nobody knows. */
export function progress(doc: UpdateDoc): number | null {
  if (doc.state === "downloading" && doc.bytes !== null && doc.total_bytes) {
    return Math.min(1, doc.bytes / doc.total_bytes);
  }
  if (doc.state === "installing" && doc.percent !== null) return doc.percent / 100;
  return null;
}

/** How long until the page asks again, in ms: often while something moves. */
export function patience(doc: UpdateDoc | null): number {
  return doc && !atRest(doc.state) ? 1_000 : 15_000;
}
