import type { CameraTime, DoctorDoc } from "../documents";
import { bound, signed } from "../format";
import { texts } from "../i18n";

/** One line on a camera's clocks, and the details behind it. */
export function ClockDoctor({ time, doctor }: { time: CameraTime; doctor: DoctorDoc }) {
  const t = texts.value;
  const { findings } = doctor;
  const rows: [string, string][] = [
    [t.reportGrade, doctor.grade ? `${doctor.grade} · ${bound(doctor.report_spread_ms)}` : "–"],
    [t.clockDrift, time.drift_ppm === null ? "–" : `${time.drift_ppm.toFixed(1)} ppm`],
    [t.clockSteps, doctor.last_step ? `${doctor.wall_steps} · ${signed(doctor.last_step.step_ms)}` : "0"],
    [t.lightToBox, doctor.delay_ms === null ? "–" : `${doctor.delay_ms.toFixed(0)} ms ${bound(doctor.delay_error_ms)}`],
  ];
  if (doctor.true_rate_hz !== null) {
    rows.push([t.mediaRate, `${doctor.true_rate_hz.toFixed(0)} / ${doctor.declared_rate_hz ?? "?"} Hz`]);
  }
  return (
    <details class="clocks">
      <summary>
        {t.clocks}{" "}
        <span class={findings.length > 0 ? "chip warn" : "chip good"}>
          {findings.length > 0 ? t.clocksWrong(findings.length) : t.clocksWell}
        </span>
      </summary>
      {findings.map(({ finding, text }) => (
        <p class="reason" key={finding} title={text}>
          {t.clockFindings[finding] ?? text}
        </p>
      ))}
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
