//! Rows about sender reports and the camera's wall clock.

use synoptic_base::{Span, TimeSource};

use super::{Row, row};
use crate::scenario::{Anchor, camera};

/// Seconds of NTP time.
const fn ntp(seconds: u64) -> u64 {
    seconds << 32
}

pub(super) fn rows() -> Vec<Row> {
    use TimeSource::{Arrival, SenderReport};
    let mut rows = vec![
        row(0, "a good camera on a good network", camera())
            .for_secs(300)
            .ends_by(SenderReport)
            .epochs(1)
            .tells_steps(&[]),
        row(
            1,
            "the first reports are older than the frames around them, and RTP starts at 0",
            camera().rtp_from(0).reports(|r| r.stale = Span::from_millis(100)),
        )
        .never_off_by_ms(1_000)
        .epochs(1),
        row(
            1,
            "the first report comes before the first frame",
            camera().reports(|r| r.first_after = Span::ZERO),
        )
        .ends_by(SenderReport)
        .never_off_by_ms(1_000),
        row(3, "no report ever comes", camera().without_reports())
            .ends_by(Arrival)
            .epochs(1),
        row(
            3,
            "reports cease after a minute, behind a proxy",
            camera().reports(|r| r.silent = Some((Span::from_secs(60), Span::from_secs(9_999)))),
        )
        .for_secs(300)
        .epochs(1),
        row(
            4,
            "all reports say when frames were sent, and the bias is declared",
            camera().declared(40, 5).reports(|r| r.anchor = Anchor::Send),
        )
        .ends_by(SenderReport),
        row(
            4,
            "a third of the reports is up to 1.7 s late",
            camera().late_reports(0.3, 300, 1_700),
        )
        .for_secs(300)
        .ends_by(SenderReport),
        row(
            4,
            "a camera under congestion: each report is late",
            camera().late_reports(1.0, 300, 1_700).declared(0, 40),
        )
        .for_secs(300),
        row(
            5,
            "reports wait for an audio frame of 23 ms",
            camera().late_reports(1.0, 12, 23),
        )
        .ends_by(SenderReport),
        row(
            6,
            "reports are 700 ms old when they are sent",
            camera().reports(|r| r.stale = Span::from_millis(700)),
        )
        .never_off_by_ms(200),
        row(
            7,
            "every third report is another stream's",
            camera().reports(|r| r.foreign_every = 3),
        )
        .ends_by(SenderReport)
        .tells_bad_reports()
        .epochs(1),
        row(
            7,
            "every report is another stream's",
            camera().reports(|r| r.foreign_every = 1),
        )
        .ends_by(Arrival)
        .tells_bad_reports(),
        row(8, "NTP time 0", camera().ntp(0))
            .ends_by(SenderReport)
            .tells_steps(&[]),
        row(8, "NTP time stands at 1970", camera().ntp(ntp(2_208_988_800)))
            .ends_by(SenderReport)
            .never_off_by_ms(200),
        row(8, "NTP time stands at 2000", camera().ntp(ntp(3_155_673_600)))
            .ends_by(SenderReport)
            .never_off_by_ms(200),
        row(
            8,
            "NTP time is in the era that begins in 2036",
            camera().wall_off(3.2e8),
        )
        .ends_by(SenderReport)
        .tells_steps(&[]),
        row(
            8,
            "RTP time 0 in each report",
            camera().reports(|r| r.rtp_zero = true),
        )
        .tells_bad_reports()
        .never_off_by_ms(200),
        row(
            21,
            "each report comes twice",
            camera().reports(|r| r.doubled = true),
        )
        .ends_by(SenderReport)
        .tells_steps(&[]),
        row(
            21,
            "no report for 400 s",
            camera().reports(|r| r.silent = Some((Span::from_secs(30), Span::from_secs(430)))),
        )
        .for_secs(520)
        .ends_by(SenderReport)
        .epochs(1),
        row(
            22,
            "RTP time of reports moves 5 s back for good",
            camera().reports(|r| r.rtp_back = Some((Span::from_secs(60), Span::from_secs(5)))),
        )
        .for_secs(300)
        .never_off_by_ms(200)
        .epochs(1),
        row(
            10,
            "local time taken for UTC: two hours off",
            camera().wall_off(7_200.0),
        )
        .ends_by(SenderReport)
        .tells_steps(&[]),
        row(10, "summer time begins", camera().wall_steps(60.0, 3_600.0))
            .ends_by(SenderReport)
            .tells_steps(&[3_600.0]),
        row(
            33,
            "a leap second is inserted by a step",
            camera().wall_steps(60.0, -1.0),
        )
        .ends_by(SenderReport)
        .tells_steps(&[-1.0]),
        row(
            33,
            "a leap second is smeared over a day",
            camera().wall_drifts(-11.6),
        )
        .for_secs(600)
        .ends_by(SenderReport)
        .tells_steps(&[]),
    ];
    for (says, by) in [
        ("NTP steps by 250 ms", 0.25),
        ("NTP steps back by 250 ms", -0.25),
        ("NTP steps back by 20 s", -20.0),
        ("NTP steps by an hour", 3_600.0),
        ("NTP steps by a day", 86_400.0),
    ] {
        rows.push(
            row(9, says, camera().wall_steps(60.0, by))
                .ends_by(SenderReport)
                .epochs(1)
                .never_off_by_ms(100)
                .tells_steps(&[by]),
        );
    }
    let daily = [40.0, 80.0, 120.0, 160.0];
    let mut camera = camera().wall_drifts(200.0);
    for at in daily {
        camera = camera.wall_steps(at, -0.4);
    }
    rows.push(
        row(9, "SNTP steps again and again", camera)
            .for_secs(200)
            .ends_by(SenderReport)
            .tells_steps(&[-0.4; 4]),
    );
    rows
}
