//! What of a camera reaches the box, in the order of arrival, one event at a time and in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{Mono, Span, Utc};

use super::camera::{Anchor, Camera, Reports};
use super::clocks::{BoxClock, Slewed};

/// Mean of the exponential by which a spike of the network is late.
const SPIKE_MS: f64 = 20.0;
/// Frames of a pre-roll come this much faster than they were captured.
const PREROLL_SPEED: i64 = 20;
/// SSRC of the camera's own packets.
const SSRC: u32 = 0x5359_4e4f;

/// A frame's first packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameSeen {
    /// Its RTP time.
    pub rtp: u32,
    /// When it arrived.
    pub arrival: Mono,
    /// Truth: when it was captured, on the box's clock.
    pub captured: Mono,
    /// Truth: what the camera's wall clock read then.
    pub wall: Utc,
    /// Whether its stamp is one of the camera's outliers.
    pub outlier: bool,
    /// When it was captured, in true time.
    pub at: Span,
}

/// A sender report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReportSeen {
    /// Its SSRC.
    pub ssrc: u32,
    /// Its NTP time, Q32.32.
    pub ntp: u64,
    /// Its RTP time.
    pub rtp: u32,
    /// When it arrived.
    pub arrival: Mono,
}

/// What happens at the box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A frame begins to arrive.
    Frame(FrameSeen),
    /// A report has arrived.
    Report(ReportSeen),
    /// The connection was made anew.
    Reconnect(Mono),
}

/// Something under way: true time of arrival, order of sending, and what.
struct Pending(Span, u64, Event);
impl PartialEq for Pending {
    fn eq(&self, other: &Pending) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Pending) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Pending) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A packet of unknown arrival waits in the outbox for its time of sending.
const UNSENT: Mono = Mono::from_nanos(0);

/// Generates a camera's events for a length of true time.
pub struct Feed {
    camera: Camera,
    /// Changes of its frame rate, in order.
    fps_changes: Vec<(Span, f64)>,
    clock: Slewed,
    rng: ChaCha8Rng,
    length: Span,
    /// True time of the next frame's capture.
    next_frame: Span,
    frames: u32,
    /// True time of the next report.
    next_report: Option<Span>,
    reports: u32,
    last_arrival: Span,
    reconnects: Vec<Span>,
    /// By time of sending: what was captured later may be sent earlier.
    outbox: BinaryHeap<Reverse<Pending>>,
    /// By time of arrival.
    pending: BinaryHeap<Reverse<Pending>>,
    made: u64,
}

impl Feed {
    /// The events of `camera` within `length` of true time, as `clock`'s box sees them.
    pub fn new(camera: &Camera, clock: &BoxClock, length: Span, seed: u64) -> Feed {
        let start = camera.phase;
        let mut fps_changes = camera.fps_changes.clone();
        fps_changes.sort_by_key(|c| c.0);
        Feed {
            camera: camera.clone(),
            fps_changes,
            clock: clock.slewed(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            length,
            next_frame: start,
            frames: 0,
            next_report: camera.reports.as_ref().map(|r| start + r.first_after),
            reports: 0,
            last_arrival: Span::ZERO,
            reconnects: camera.reconnects.iter().rev().map(|r| r.0).collect(),
            outbox: BinaryHeap::new(),
            pending: BinaryHeap::new(),
            made: 0,
        }
    }

    /// Exponential with this mean, in ms.
    fn exponential(&mut self, mean_ms: f64) -> Span {
        let u: f64 = self.rng.random_range(1e-9..1.0);
        Span::from_nanos((-mean_ms * u.ln() * 1e6) as i64)
    }

    /// RTP time of true time `at`.
    fn rtp(&self, at: Span) -> u32 {
        let c = &self.camera;
        let anew = c.reconnects.iter().chain(&c.rtp_resets);
        let (from, base) = anew
            .filter(|(when, _)| *when <= at)
            .max_by_key(|(when, _)| *when)
            .copied()
            .unwrap_or((Span::ZERO, c.first_rtp));
        let elapsed = |t: Span| c.oscillator.elapsed_ns(t.as_nanos() as f64);
        let ticks = (elapsed(at) - elapsed(from)) * 1e-9 * f64::from(c.rate_hz) * c.rate_lie;
        base.wrapping_add((ticks.floor() as i64) as u32)
    }

    /// True time of arrival of something sent at true time `at`.
    fn travel(&mut self, at: Span) -> Span {
        let network = &self.camera.network;
        let (least, jitter_ms, spikes) = (network.least, network.jitter_ms, network.spikes);
        let longer = network.path_change.filter(|(from, _)| *from <= at).map(|p| p.1);
        let mut arrival = at + least + longer.unwrap_or(Span::ZERO) + self.exponential(jitter_ms);
        if self.rng.random_bool(spikes) {
            arrival += self.exponential(SPIKE_MS);
        }
        for (from, length) in &self.camera.network.stalls {
            if arrival >= *from && arrival < *from + *length {
                arrival = *from + *length + (arrival - *from) / 1_000;
            }
        }
        if self.camera.network.ordered {
            arrival = arrival.max(self.last_arrival + Span::from_nanos(1));
            self.last_arrival = arrival;
        }
        arrival
    }

    fn dark(&self, at: Span) -> bool {
        let within = |(from, length): &(Span, Span)| at >= *from && at < *from + *length;
        self.camera.network.outages.iter().any(within)
    }

    fn post(&mut self, sent: Span, event: Event) {
        self.made += 1;
        self.outbox.push(Reverse(Pending(sent, self.made, event)));
    }

    fn send(&mut self, Pending(sent, number, mut event): Pending) {
        let arrival = self.travel(sent);
        let mono = self.clock.mono(arrival);
        match &mut event {
            Event::Frame(frame) => frame.arrival = mono,
            Event::Report(report) => report.arrival = mono,
            Event::Reconnect(at) => *at = mono,
        }
        self.pending.push(Reverse(Pending(arrival, number, event)));
    }

    fn make_frame(&mut self) {
        let (at, index) = (self.next_frame, self.frames);
        self.frames += 1;
        let changed = self.fps_changes.partition_point(|(when, _)| *when <= at);
        let newest = changed.checked_sub(1).and_then(|i| self.fps_changes.get(i));
        let fps = newest.map_or(self.camera.fps, |c| c.1);
        self.next_frame += Span::from_nanos((1e9 / fps / (1.0 + self.camera.oscillator.ppm * 1e-6)) as i64);
        // All draws are made for every frame, lost or not: a change of one figure leaves the others' draws alone.
        let lost = self.rng.random_bool(self.camera.network.loss);
        let encoder = self.exponential(0.5);
        let intra = index.is_multiple_of(self.camera.gop.max(1));
        let c = &self.camera;
        let interval = Span::from_nanos((1e9 / fps) as i64);
        // A B frame goes out after the reference that follows it, which may be several frames away.
        let behind = index % (c.b_frames + 1);
        let coded_later = match behind {
            0 => Span::ZERO,
            _ => interval * i64::from(c.b_frames + 1 - behind) + Span::from_millis(1),
        };
        let mut sent = at + c.light_to_wire + encoder + coded_later;
        if intra {
            sent += c.i_frame;
        }
        if at < c.phase + c.preroll {
            // What was captured before the connection: all of it is sent once there is one.
            let connected = c.phase + c.preroll + c.light_to_wire;
            sent = connected + (at - c.phase) / PREROLL_SPEED;
        }
        if lost || self.dark(at) {
            return;
        }
        let c = &self.camera;
        let outlier = c
            .outliers
            .filter(|(nth, _)| *nth > 0 && index > 0 && index.is_multiple_of(*nth));
        let mut rtp = self.rtp(at);
        if let Some((_, off)) = outlier {
            let ticks = off.as_nanos() as f64 * 1e-9 * f64::from(c.rate_hz);
            rtp = rtp.wrapping_add((ticks as i64) as u32);
        }
        let shifted = c.exposure.filter(|(from, _)| *from <= at).map(|e| e.1);
        let truth = at - shifted.unwrap_or(Span::ZERO);
        let frame = FrameSeen {
            rtp,
            arrival: UNSENT,
            captured: self.clock.mono(truth),
            wall: c.wall.at(truth),
            outlier: outlier.is_some(),
            at: truth,
        };
        let again = c.doubled_every > 0 && index % c.doubled_every == 1;
        self.post(sent, Event::Frame(frame));
        if again {
            self.post(sent + Span::from_micros(50), Event::Frame(frame));
        }
    }

    fn make_report(&mut self, at: Span, r: &Reports) {
        self.reports += 1;
        let factor: f64 = self.rng.random_range(0.5..1.5);
        self.next_report = Some(at + Span::from_nanos((r.every.as_nanos() as f64 * factor) as i64));
        // Near enough to a normal distribution: the sum of four, each of a quarter of its variance.
        let normal: f64 = (0..4).map(|_| self.rng.random_range(-1.0..1.0)).sum::<f64>() * 0.866;
        let noise = Span::from_nanos((normal * r.noise_ms * 1e6) as i64);
        let late = match r.anchor {
            Anchor::Capture => Span::ZERO,
            Anchor::Send => self.camera.light_to_wire,
            Anchor::Late { share, mean, limit } => {
                let late = self.exponential(mean.as_millis_f64()).min(limit);
                if self.rng.random_bool(share) {
                    late
                } else {
                    Span::ZERO
                }
            }
        };
        let silent = r.silent.is_some_and(|(from, to)| at >= from && at < to);
        if silent || self.dark(at) {
            return;
        }
        let taken = at - r.stale;
        let back = r.rtp_back.filter(|(from, _)| *from <= at).map(|b| b.1);
        let mut report = ReportSeen {
            ssrc: SSRC,
            ntp: r.ntp.unwrap_or_else(|| self.camera.wall.at(taken).to_ntp()),
            rtp: if r.rtp_zero {
                0
            } else {
                self.rtp(taken + noise - late - back.unwrap_or(Span::ZERO))
            },
            arrival: UNSENT,
        };
        if r.foreign_every > 0 && self.reports.is_multiple_of(r.foreign_every) {
            report.ssrc = SSRC ^ 0xffff;
            report.rtp ^= 0x4000_0000;
        }
        self.post(at, Event::Report(report));
        if r.doubled {
            self.post(at + Span::from_millis(1), Event::Report(report));
        }
    }
}

impl Iterator for Feed {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            // Nothing is sent before it is made, and nothing arrives before it is sent.
            let report = self.next_report.filter(|r| *r < self.length);
            let frame = Some(self.next_frame).filter(|f| *f < self.length);
            let making = report.into_iter().chain(frame).min();
            let sending = self.outbox.peek().map(|Reverse(p)| p.0);
            let due = self.pending.peek().map(|Reverse(p)| p.0);
            let next = making.into_iter().chain(sending).chain(due).min()?;
            if let Some(reconnect) = self.reconnects.last().copied().filter(|r| next >= *r) {
                self.reconnects.pop();
                return Some(Event::Reconnect(self.clock.mono(reconnect)));
            }
            if making == Some(next) {
                if frame == Some(next) {
                    self.make_frame();
                } else if let (Some(at), Some(r)) = (report, self.camera.reports) {
                    self.make_report(at, &r);
                }
            } else if sending == Some(next) {
                if let Some(Reverse(packet)) = self.outbox.pop() {
                    self.send(packet);
                }
            } else {
                return self.pending.pop().map(|Reverse(p)| p.2);
            }
        }
    }
}
