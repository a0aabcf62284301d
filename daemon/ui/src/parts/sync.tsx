import { useEffect, useRef } from "preact/hooks";
import type { SyncStatus } from "../documents";
import { bound, signed, span } from "../format";
import { texts } from "../i18n";
import { drawPlot, SERIES } from "../plot";
import { histories, status } from "../state";
import { Link } from "./icons";

const TONE = { locked: "good", degraded: "warn", lost: "bad" } as const;
/** Time between two drawings of a plot. */
const DRAW_MS = 100;

export function Sync() {
  const t = texts.value;
  const groups = status.value?.groups ?? [];
  return (
    <section aria-labelledby="sync">
      <header>
        <h2 id="sync">{t.sync}</h2>
      </header>
      {groups.length === 0 ? (
        <div class="empty">
          <Link />
          <h3>{t.noGroups}</h3>
          <p>{t.noGroupsHint}</p>
        </div>
      ) : (
        groups.map((group) => <Group key={group.group} group={group} />)
      )}
    </section>
  );
}

function Group({ group }: { group: SyncStatus }) {
  const t = texts.value;
  const names = new Map(status.value?.cameras.map((camera) => [camera.id, camera.name]));
  const spread = group.spread_ms;
  return (
    <article class="card group" data-group={group.group}>
      <div class="title">
        <h3>{group.group}</h3>
        <span class={`chip ${TONE[group.state]}`}>{t.syncState[group.state]}</span>
      </div>
      <dl class="figures">
        <div>
          <dt title={t.spreadHint}>{t.spread}</dt>
          <dd>
            <strong>{spread ? span(spread.p50) : "–"}</strong>
            {spread && (
              <small>
                p95 {span(spread.p95)} · max {span(spread.max)}
              </small>
            )}
          </dd>
        </div>
        <div>
          <dt>{t.tolerance}</dt>
          <dd>
            <strong>{bound(group.tolerance_ms)}</strong>
          </dd>
        </div>
        <div>
          <dt>{t.complete}</dt>
          <dd>
            <strong>{group.complete_ratio === null ? "–" : `${(100 * group.complete_ratio).toFixed(1)} %`}</strong>
          </dd>
        </div>
        <div>
          <dt>{t.packets}</dt>
          <dd>
            <strong>{group.packets_per_s.toFixed(1)}</strong> {t.perSecond}
          </dd>
        </div>
      </dl>
      <Plot group={group} />
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">{t.member}</th>
              <th scope="col" class="roomy">
                {t.timeSource}
              </th>
              <th scope="col">{t.offset}</th>
              <th scope="col">{t.errorBound}</th>
              <th scope="col">{t.phase}</th>
            </tr>
          </thead>
          <tbody>
            {group.members.map((member, index) => (
              <tr key={member.cam}>
                <th scope="row">
                  <span class={`swatch series-${index % SERIES}`} />
                  <span class="name">{names.get(member.cam) ?? member.cam}</span>
                  {member.status !== "okay" && <span class="chip bad">{t.slotStatus[member.status]}</span>}
                </th>
                <td class="roomy">{member.source ? (t.timeSources[member.source] ?? member.source) : "–"}</td>
                <td>{member.offset_ms === null ? "–" : signed(member.offset_ms)}</td>
                <td>{member.error_ms === null ? "–" : bound(member.error_ms)}</td>
                <td>{member.phase_ms === null ? "–" : signed(member.phase_ms)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </article>
  );
}

function Plot({ group }: { group: SyncStatus }) {
  const t = texts.value;
  const canvas = useRef<HTMLCanvasElement>(null);
  const newest = useRef(group);
  newest.current = group;
  useEffect(() => {
    let frame = 0;
    let drawn = 0;
    const draw = (time: number) => {
      frame = requestAnimationFrame(draw);
      if (!canvas.current || time - drawn < DRAW_MS) return;
      drawn = time;
      const words = texts.value;
      const names = {
        phase: words.plotPhase,
        spread: words.plotSpread,
        limit: words.plotLimit,
        wait: words.plotWait,
        ago: words.secondsAgo,
      };
      drawPlot(canvas.current, histories.get(newest.current.group), newest.current, names, performance.now());
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, []);
  return <canvas ref={canvas} class="plot" role="img" aria-label={t.plotLabel(group.group)} />;
}
