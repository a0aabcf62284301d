//! What one viewer's network takes: all pictures, or only those that stand alone, until it is well again.
//!
//! One encode serves everybody, so a viewer whose line is too thin cannot have a lower bit rate. Sent on as before, his
//! pictures would queue up in the network, and his delay would grow without end. So he gets the IDR pictures alone.
//!
//! What tells of it, each heard in RTCP:
//!
//! * his own **estimate** of what he can take (REMB, draft-alvestrand-rmcat-remb): bad below three quarters of the stream's rate;
//! * the **round trip** (RFC 3550 section 6.4.1: now less LSR less DLSR), which grows with what waits on the way: bad at
//!   400 ms above the shortest one;
//! * the share of packets **lost** (fraction lost of receiver reports): bad at 15 %.
//!
//! A judgement needs time, for an estimate swings and a key picture is a burst: it is bad for good after 3 s and two reports. It is left again
//! after a hold when round trip and loss are well. The estimate alone cannot say so: a receiver believes in at most one and a half
//! times of what it gets. So all pictures are tried again, and where that goes wrong soon, the next hold is twice as long.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// What is bad for less long is no judgement.
const BAD_FOR: Span = Span::from_secs(3);
/// ... nor is a single report, which may stand for 5 s (RFC 3550 section 6.2; browsers tell every second).
const BAD_REPORTS: u32 = 2;
/// Reports older than this say nothing any more.
const FRESH: Span = Span::from_secs(10);
/// The stream's rate is that of the last so many seconds.
const WINDOW: Span = Span::from_secs(2);
/// The estimate is bad below this part of the rate: it falls to 0.85 of what came at every overuse that a receiver thinks to see,
/// and climbs again by 8 % a second (libwebrtc's AimdRateControl).
const ENOUGH: f64 = 0.75;
/// A round trip is bad when so much longer than the shortest, and well again below the other.
const QUEUED: Span = Span::from_millis(400);
const DRAINED: Span = Span::from_millis(150);
/// Losses in the same way.
const LOSSY: f64 = 0.15;
const HEALED: f64 = 0.05;
/// The first hold, and the longest one.
const HOLD: Span = Span::from_secs(5);
const MAX_HOLD: Span = Span::from_secs(60);
/// Who stayed well for so long begins with the first hold again.
const TRUSTED: Span = Span::from_secs(60);

/// What a viewer told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ViewerReport {
    /// What he thinks he can take, bits a second.
    pub estimate_bps: Option<f64>,
    /// From the box to him and back.
    pub round_trip: Option<Span>,
    /// Share of packets lost, 0 to 1.
    pub lost: Option<f64>,
}

/// Which pictures a viewer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewerGets {
    /// All.
    #[default]
    All,
    /// IDR pictures, and why.
    Keys(ViewerTrouble),
}

/// What is wrong with a viewer's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewerTrouble {
    /// His estimate is below the stream's rate.
    Estimate,
    /// Packets wait on the way.
    Delay,
    /// Packets are lost.
    Loss,
}

impl ViewerTrouble {
    /// Name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            ViewerTrouble::Estimate => "estimate",
            ViewerTrouble::Delay => "delay",
            ViewerTrouble::Loss => "loss",
        }
    }
}

/// A value and when it was heard.
#[derive(Clone, Copy, Debug)]
struct Heard<T>(Mono, T);

impl<T: Copy> Heard<T> {
    fn fresh(of: Option<Heard<T>>, now: Mono) -> Option<T> {
        of.filter(|heard| now - heard.0 <= FRESH).map(|heard| heard.1)
    }
}

/// Decides for one viewer.
#[derive(Debug)]
pub struct ViewerRate {
    gets: ViewerGets,
    estimate: Option<Heard<f64>>,
    round_trip: Option<Heard<Span>>,
    shortest: Option<Span>,
    lost: Option<Heard<f64>>,
    /// The stream's newest pictures, whether he got them or not.
    pictures: VecDeque<(Mono, usize)>,
    bytes: usize,
    bad_since: Option<Mono>,
    /// Reports since then, that one among them.
    bad_reports: u32,
    /// A report came since the last look.
    told: bool,
    /// Since when he gets what he gets.
    since: Mono,
    hold: Span,
    /// He had IDR pictures alone before.
    relapses: bool,
}

impl ViewerRate {
    /// A viewer who gets all.
    pub fn new(now: Mono) -> ViewerRate {
        ViewerRate {
            gets: ViewerGets::All,
            estimate: None,
            round_trip: None,
            shortest: None,
            lost: None,
            pictures: VecDeque::new(),
            bytes: 0,
            bad_since: None,
            bad_reports: 0,
            told: false,
            since: now,
            hold: HOLD,
            relapses: false,
        }
    }

    /// A picture of the stream is there, whether he gets it or not.
    pub fn picture(&mut self, now: Mono, bytes: usize) {
        self.pictures.push_back((now, bytes));
        self.bytes += bytes;
        while let Some((at, size)) = self.pictures.front().copied()
            && now - at > WINDOW
        {
            self.pictures.pop_front();
            self.bytes -= size;
        }
    }

    /// The viewer told something.
    pub fn report(&mut self, now: Mono, report: ViewerReport) {
        self.told |= report != ViewerReport::default();
        if let Some(bps) = report.estimate_bps {
            self.estimate = Some(Heard(now, bps));
        }
        if let Some(time) = report.round_trip {
            self.shortest = Some(self.shortest.map_or(time, |least| least.min(time)));
            self.round_trip = Some(Heard(now, time));
        }
        if let Some(lost) = report.lost {
            self.lost = Some(Heard(now, lost));
        }
    }

    /// What he gets from now on.
    pub fn decide(&mut self, now: Mono) -> ViewerGets {
        match self.gets {
            ViewerGets::All => self.look_for_trouble(now),
            ViewerGets::Keys(_) => self.look_for_health(now),
        }
        self.gets
    }

    /// What he gets.
    pub fn gets(&self) -> ViewerGets {
        self.gets
    }

    /// The newest of what he told; what is old is left out.
    pub fn heard(&self, now: Mono) -> ViewerReport {
        ViewerReport {
            estimate_bps: Heard::fresh(self.estimate, now),
            round_trip: Heard::fresh(self.round_trip, now),
            lost: Heard::fresh(self.lost, now),
        }
    }

    /// Bits a second of the stream; `None` until it is known.
    pub fn stream_bps(&self) -> Option<f64> {
        let (first, last) = (self.pictures.front()?, self.pictures.back()?);
        let lasted = (last.0 - first.0).as_secs_f64();
        // The last picture's own time is not over.
        let bytes = self.bytes - last.1;
        (lasted * 2.0 >= WINDOW.as_secs_f64()).then(|| bytes as f64 * 8.0 / lasted)
    }

    fn trouble(&self, now: Mono) -> Option<ViewerTrouble> {
        let heard = self.heard(now);
        if self.queued(now).is_some_and(|queued| queued > QUEUED) {
            return Some(ViewerTrouble::Delay);
        }
        if heard.lost.is_some_and(|lost| lost >= LOSSY) {
            return Some(ViewerTrouble::Loss);
        }
        let (estimate, rate) = (heard.estimate_bps?, self.stream_bps()?);
        (estimate < rate * ENOUGH).then_some(ViewerTrouble::Estimate)
    }

    /// How much longer than the shortest the round trip is.
    fn queued(&self, now: Mono) -> Option<Span> {
        Some(Heard::fresh(self.round_trip, now)? - self.shortest?)
    }

    fn look_for_trouble(&mut self, now: Mono) {
        let told = std::mem::take(&mut self.told);
        let Some(trouble) = self.trouble(now) else {
            (self.bad_since, self.bad_reports) = (None, 0);
            return;
        };
        let bad_since = *self.bad_since.get_or_insert(now);
        self.bad_reports += u32::from(told);
        if now - bad_since < BAD_FOR || self.bad_reports < BAD_REPORTS {
            return;
        }
        let well_for = bad_since - self.since;
        // The first time, or after long health, with the first hold.
        self.hold = match self.relapses && well_for < TRUSTED {
            true => (self.hold * 2).min(MAX_HOLD),
            false => HOLD,
        };
        self.enter(now, ViewerGets::Keys(trouble));
    }

    fn look_for_health(&mut self, now: Mono) {
        let heard = self.heard(now);
        let queued = self.queued(now).is_some_and(|queued| queued > DRAINED);
        let lossy = heard.lost.is_some_and(|lost| lost > HEALED);
        if queued || lossy || now - self.since < self.hold {
            return;
        }
        self.relapses = true;
        self.enter(now, ViewerGets::All);
    }

    fn enter(&mut self, now: Mono, gets: ViewerGets) {
        self.gets = gets;
        self.since = now;
        (self.bad_since, self.bad_reports) = (None, 0);
        // Of before: it says nothing of what he gets now.
        self.estimate = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Span = Span::from_millis(1);

    /// A line of `bps` with a queue of any length before it, and a viewer who tells what he sees once a second.
    struct Line {
        now: Mono,
        rate: ViewerRate,
        waiting_bits: f64,
        got_bits: f64,
        longest_queue: Span,
        keys_only: u32,
        switches: u32,
    }

    impl Line {
        fn new() -> Line {
            let now = Mono::from_nanos(1_000_000_000_000);
            Line {
                now,
                rate: ViewerRate::new(now),
                waiting_bits: 0.0,
                got_bits: 0.0,
                longest_queue: Span::ZERO,
                keys_only: 0,
                switches: 0,
            }
        }

        /// So many seconds of 30 pictures of 2.4 Mbit/s, an IDR picture a second that is five times as large as others.
        fn run(&mut self, seconds: u32, bps: f64, lost: f64, tells_estimate: bool) {
            for n in 0..seconds * 30 {
                self.now += MS * 33;
                let key = n % 30 == 0;
                let bytes = 300_000 / 34 * if key { 5 } else { 1 };
                self.rate.picture(self.now, bytes);
                let before = self.rate.gets();
                let gets = self.rate.decide(self.now);
                self.switches += u32::from(gets != before);
                self.keys_only += u32::from(gets != ViewerGets::All);
                if gets == ViewerGets::All || key {
                    self.waiting_bits += bytes as f64 * 8.0 * (1.0 - lost);
                }
                let taken = self.waiting_bits.min(bps * 0.033);
                self.waiting_bits -= taken;
                self.got_bits += taken;
                let queue = Span::from_secs_f64(self.waiting_bits / bps);
                self.longest_queue = self.longest_queue.max(queue);
                if key {
                    // As libwebrtc does: 0.85 of what came when it is too much, else up to one and a half times of it.
                    let came = std::mem::take(&mut self.got_bits);
                    let estimate = if queue > MS * 50 { came * 0.85 } else { came * 1.5 };
                    self.rate.report(
                        self.now,
                        ViewerReport {
                            estimate_bps: (tells_estimate && n > 0).then_some(estimate),
                            round_trip: Some(MS * 30 + queue),
                            lost: Some(lost),
                        },
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_wide_enough_gets_all() {
        let mut line = Line::new();
        line.run(300, 10e6, 0.02, true);
        assert_eq!((line.keys_only, line.rate.gets()), (0, ViewerGets::All));
        let rate = line.rate.stream_bps().unwrap();
        assert!((2.2e6..2.6e6).contains(&rate), "{rate}");
    }

    #[test]
    fn on_a_thin_line_delay_does_not_grow_without_end_and_it_is_tried_again_ever_more_seldom() {
        for tells_estimate in [true, false] {
            let mut line = Line::new();
            line.run(600, 1.2e6, 0.0, tells_estimate);
            // Without the decision: 600 s of delay.
            assert!(line.longest_queue < Span::from_secs(8), "{}", line.longest_queue);
            assert!((2..=60).contains(&line.switches), "{}", line.switches);
            let share = f64::from(line.keys_only) / (600.0 * 30.0);
            assert!(share > 0.75, "{share}");
        }
    }

    #[test]
    fn who_is_well_again_gets_all_again() {
        let mut line = Line::new();
        line.run(60, 10e6, 0.0, true);
        line.run(30, 1.0e6, 0.0, true);
        assert!(matches!(line.rate.gets(), ViewerGets::Keys(_)));
        line.run(70, 10e6, 0.0, true);
        assert_eq!(line.rate.gets(), ViewerGets::All);
        line.keys_only = 0;
        line.run(120, 10e6, 0.0, true);
        assert_eq!(line.keys_only, 0);
    }

    #[test]
    fn loss_is_trouble_of_its_own_and_a_single_report_is_none() {
        let mut line = Line::new();
        line.run(20, 10e6, 0.3, false);
        assert_eq!(line.rate.gets(), ViewerGets::Keys(ViewerTrouble::Loss));
        let mut line = Line::new();
        line.run(10, 10e6, 0.0, false);
        let report = ViewerReport {
            round_trip: Some(Span::from_secs(2)),
            ..ViewerReport::default()
        };
        line.rate.report(line.now, report);
        line.run(10, 10e6, 0.0, false);
        assert_eq!(line.keys_only, 0);
    }

    #[test]
    fn silence_says_nothing() {
        let now = Mono::from_nanos(0);
        let mut rate = ViewerRate::new(now);
        let bad = ViewerReport {
            lost: Some(0.9),
            ..ViewerReport::default()
        };
        rate.report(now, bad);
        for s in 0..60 {
            assert_eq!(rate.decide(now + Span::from_secs(s)), ViewerGets::All);
        }
        assert_eq!(rate.heard(now + Span::from_secs(61)), ViewerReport::default());
    }
}
