//! Rows about media clocks, frames and the way to the box.

use synoptic_base::{Span, TimeSource};

use super::{Row, row};
use crate::scenario::{BoxClock, camera};

/// Frames that no report explains, and no bound within 120 s can: judged after them.
const AFTER_PREROLL: i64 = 7;

pub(super) fn rows() -> Vec<Row> {
    use TimeSource::{Arrival, SenderReport};
    let millis_clock = camera().clock_rate(1_000).without_reports();
    vec![
        row(
            2,
            "two frames a second with B frames: stamps in coded order",
            camera().at_fps(2.0).with_b_frames(2),
        )
        .epochs(1)
        .never_off_by_ms(200),
        row(2, "15 fps with three B frames", camera().with_b_frames(3)).epochs(1),
        row(12, "the RTP clock wraps", camera().wraps_at(30.0))
            .ends_by(SenderReport)
            .epochs(1)
            .tells_steps(&[]),
        row(
            12,
            "the RTP clock wraps while no report comes",
            camera().without_reports().wraps_at(30.0),
        )
        .ends_by(Arrival)
        .epochs(1),
        row(13, "a reboot: RTP starts anew at 0", camera().reboots(60.0, 0))
            .ends_by(SenderReport)
            .epochs(2),
        row(
            14,
            "single frames stamped 61 ms back",
            camera().outlier_every(50, -0.061),
        )
        .epochs(1),
        row(
            15,
            "a frame stamped 9,800 s back every 3 s",
            camera().outlier_every(45, -9_800.0),
        )
        .epochs(1)
        .ends_by(SenderReport),
        row(
            15,
            "a frame stamped 37,600 s ahead every 3 s",
            camera().outlier_every(45, 37_600.0),
        )
        .epochs(1)
        .ends_by(SenderReport),
        row(
            15,
            "the media clock jumps for good",
            camera().resets_rtp(60.0, 77),
        )
        .epochs(2)
        .ends_by(SenderReport),
        row(
            16,
            "25 fps declared, 21 sent",
            camera().at_fps(21.0).rate_lie(0.84),
        )
        .for_secs(300),
        row(
            16,
            "25 fps declared, 21 sent, and no reports",
            camera().at_fps(21.0).rate_lie(0.84).without_reports(),
        )
        .for_secs(300),
        row(16, "a media clock 10.5 times too fast", camera().rate_lie(10.5)).for_secs(300),
        row(17, "two frames of one RTP time", camera().doubles_every(10))
            .ends_by(SenderReport)
            .epochs(1),
        row(
            18,
            "an audio clock of 48 kHz, 100 ppm slow",
            camera().clock_rate(48_000).at_fps(46.875).drifting(-100.0),
        )
        .ends_by(SenderReport),
        row(
            18,
            "an audio clock of 8 kHz, 100 ppm fast",
            camera().clock_rate(8_000).at_fps(50.0).drifting(100.0),
        )
        .ends_by(SenderReport),
        row(
            19,
            "5 s of pre-roll, faster than real time",
            camera().with_preroll(5.0),
        )
        .judged_from(AFTER_PREROLL)
        .ends_by(SenderReport),
        row(
            19,
            "5 s of pre-roll, and no reports",
            camera().with_preroll(5.0).without_reports(),
        )
        .judged_from(AFTER_PREROLL),
        row(
            20,
            "an hour of packets is lost, then it goes on",
            camera().at_fps(5.0).dark(30.0, 3_600.0),
        )
        .for_secs(3_750)
        .ends_by(SenderReport),
        row(20, "one frame in five is lost", camera().losing(0.2))
            .ends_by(SenderReport)
            .epochs(1),
        row(
            21,
            "asleep for more than half a wrap",
            camera().at_fps(1.0).dark(60.0, 26_000.0),
        )
        .for_secs(26_300)
        .ends_by(SenderReport),
        row(
            23,
            "exposure grows from 1 to 33 ms: the middle moves by 16",
            camera().exposes_longer(60.0, 16.0).declared(8, 13),
        )
        .for_secs(300)
        .ends_by(SenderReport),
        row(
            24,
            "night mode halves the frame rate",
            camera().then_fps(60.0, 7.5),
        )
        .for_secs(200)
        .ends_by(SenderReport)
        .epochs(1),
        row(
            25,
            "a smart codec idles at 1 fps",
            camera().then_fps(30.0, 1.0).then_fps(90.0, 15.0),
        )
        .ends_by(SenderReport)
        .epochs(1),
        row(25, "one frame in 15 s", camera().at_fps(1.0 / 15.0))
            .for_secs(900)
            .epochs(1),
        row(
            29,
            "RTMP: a clock of milliseconds wraps at 32 bits",
            millis_clock.clone().wraps_at(30.0),
        )
        .ends_by(Arrival)
        .epochs(1),
        row(
            29,
            "RTMP: the 24-bit wrap of a sender that forgets the extension",
            millis_clock.resets_rtp(60.0, 0),
        )
        .ends_by(Arrival)
        .epochs(2),
        row(
            31,
            "TCP stands still for 5 s, then all comes at once",
            camera().stalls(30.0, 5.0).stalls(80.0, 1.0),
        )
        .ends_by(SenderReport)
        .never_off_by_ms(200)
        .epochs(1),
        row(
            31,
            "TCP stands still, and no reports",
            camera().without_reports().stalls(30.0, 5.0).stalls(80.0, 1.0),
        )
        .never_off_by_ms(200)
        .epochs(1),
        row(
            31,
            "UDP: packets overtake each other",
            camera().over_udp().losing(0.01),
        )
        .ends_by(SenderReport),
        row(
            32,
            "the path grows by 30 ms for good",
            camera().path_grows(60.0, 30),
        )
        .for_secs(400)
        .ends_by(SenderReport),
        row(
            32,
            "the path grows by 30 ms for good, and no reports",
            camera().without_reports().path_grows(60.0, 30),
        )
        .for_secs(400),
        row(34, "NTP slews the box by 500 ppm for a minute", camera())
            .on(slewed())
            .for_secs(300)
            .ends_by(SenderReport)
            .tells_steps(&[]),
        row(
            34,
            "NTP slews the box by 500 ppm for a minute, and no reports",
            camera().without_reports(),
        )
        .on(slewed())
        .for_secs(300),
        row(0, "a wandering quartz", camera().wandering(5.0, 300.0))
            .for_secs(600)
            .ends_by(SenderReport),
        row(11, "the box steps from 1970 to now after 30 s", camera())
            .on(stepped())
            .ends_by(SenderReport)
            .tells_steps(&[]),
    ]
}

fn slewed() -> BoxClock {
    BoxClock {
        slews: vec![(Span::from_secs(90), Span::from_secs(60), 500.0)],
        ..BoxClock::default()
    }
}

/// A box without a battery-backed clock that finds its NTP server after 30 s.
fn stepped() -> BoxClock {
    let off = Span::from_secs(-1_795_000_000);
    BoxClock {
        utc_offset: off,
        utc_steps: vec![(Span::from_secs(30), -off)],
        ..BoxClock::default()
    }
}

#[test]
fn a_step_of_the_boxes_utc_moves_no_frame() {
    let seen = |clock: BoxClock| {
        let row = row(11, "", camera()).on(clock);
        let (_, score) = row.run(4);
        score
            .judged
            .iter()
            .map(|j| (j.at, j.error, j.bound))
            .collect::<Vec<_>>()
    };
    assert!(seen(stepped()).len() > 1_000);
    assert_eq!(seen(stepped()), seen(BoxClock::default()));
    // ... while what the box calls UTC does move.
    let utc = |s: i64| stepped().utc(Span::from_secs(s));
    assert!(utc(31) - utc(29) > Span::from_secs(1_000_000_000));
}
