import type { Capture } from "../documents";
import { bound } from "../format";
import { texts } from "../i18n";

/** The error bound of a capture time: to UTC, or to the box's own clock while that is not synchronised. */
export function CaptureBound({ of }: { of: Capture }) {
  const t = texts.value;
  const known = of.error_ms !== null;
  return (
    <span class="muted whole" title={known ? t.boundHint : t.relativeBoundHint}>
      {bound(of.error_ms ?? of.rel_error_ms)}
    </span>
  );
}
