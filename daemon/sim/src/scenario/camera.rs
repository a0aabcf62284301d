//! The words of a scenario: what a camera, its network and its reports do.

use synoptic_base::Span;

use super::clocks::{Oscillator, Wall};

/// Which media time a report pairs with its wall time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Anchor {
    /// That of the present instant, on the line of capture times: right.
    Capture,
    /// That of the frame being sent, so later than capture by the encoder's delay. A constant bias.
    Send,
    /// Right, except for this share of reports, which are late by an exponential of this mean, cut off at the limit.
    Late {
        /// Share of late reports, 0 to 1.
        share: f64,
        /// Mean lateness.
        mean: Span,
        /// Largest lateness.
        limit: Span,
    },
}

/// The sender reports of a camera.
#[derive(Clone, Copy, Debug)]
pub struct Reports {
    /// Mean interval; each is drawn from half of it to one and a half (RFC 3550 section 6.3.1).
    pub every: Span,
    /// Delay of the first one after the stream's first frame.
    pub first_after: Span,
    /// See [`Anchor`].
    pub anchor: Anchor,
    /// Standard deviation between the two times of a pair, in ms: its clocks are read one after the other.
    pub noise_ms: f64,
    /// The pair was taken this long before it was sent.
    pub stale: Span,
    /// Each comes twice.
    pub doubled: bool,
    /// Every n-th belongs to another stream: SSRC, RTP time and all. 0: none.
    pub foreign_every: u32,
    /// The NTP time is this, whatever the wall clock says.
    pub ntp: Option<u64>,
    /// The RTP time is always 0.
    pub rtp_zero: bool,
    /// None between these times.
    pub silent: Option<(Span, Span)>,
    /// From this time on, RTP times of reports are this much too early.
    pub rtp_back: Option<(Span, Span)>,
}

/// What lies between camera and box.
#[derive(Clone, Debug)]
pub struct Network {
    /// Least delay of a packet.
    pub least: Span,
    /// Mean of the exponential jitter, in ms.
    pub jitter_ms: f64,
    /// Share of packets that are late by a further exponential of 20 ms.
    pub spikes: f64,
    /// Packets stay in order, as over TCP.
    pub ordered: bool,
    /// Share of frames that are lost, 0 to 1.
    pub loss: f64,
    /// Nothing arrives from here, for so long; then all at once.
    pub stalls: Vec<(Span, Span)>,
    /// From here on everything takes that much longer.
    pub path_change: Option<(Span, Span)>,
    /// Everything sent in here is lost.
    pub outages: Vec<(Span, Span)>,
}

/// A camera. Start from [`camera`] and say what is different.
#[derive(Clone, Debug)]
pub struct Camera {
    /// Frames a second, on its own clock.
    pub fps: f64,
    /// Changes of the frame rate: when, and to what.
    pub fps_changes: Vec<(Span, f64)>,
    /// Offset of its shutter.
    pub phase: Span,
    /// Ticks of the media clock a second, as declared.
    pub rate_hz: u32,
    /// Ticks it really counts a second, relative to what it declares.
    pub rate_lie: f64,
    /// RTP time at true time 0.
    pub first_rtp: u32,
    /// Its quartz.
    pub oscillator: Oscillator,
    /// Its wall clock.
    pub wall: Wall,
    /// Least delay from light to wire.
    pub light_to_wire: Span,
    /// Frames between I frames.
    pub gop: u32,
    /// How much longer an I frame takes.
    pub i_frame: Span,
    /// Frames that reference the future between two others: the coded order differs from the captured one.
    pub b_frames: u32,
    /// What lies before the connection comes first, faster than real time.
    pub preroll: Span,
    /// Connects anew (timebase and all), its RTP time starting at this value.
    pub reconnects: Vec<(Span, u32)>,
    /// Its RTP time starts anew within the connection.
    pub rtp_resets: Vec<(Span, u32)>,
    /// Every n-th frame is stamped this far off. 0: none.
    pub outliers: Option<(u32, Span)>,
    /// Every n-th frame comes twice with one stamp. 0: none.
    pub doubled_every: u32,
    /// From here on pictures are taken this much earlier than stamped (exposure).
    pub exposure: Option<(Span, Span)>,
    /// Its sender reports; `None`: it sends none.
    pub reports: Option<Reports>,
    /// See [`Network`].
    pub network: Network,
    /// What the box is told of the bias of its stamps.
    pub declared_bias: Span,
    /// And how far that may be off.
    pub declared_error: Span,
}

/// A good camera on a good network: 15 fps, 30 ppm, true reports every 5 s, 40 ms from light to wire.
pub fn camera() -> Camera {
    Camera {
        fps: 15.0,
        fps_changes: Vec::new(),
        phase: Span::ZERO,
        rate_hz: 90_000,
        rate_lie: 1.0,
        first_rtp: 2_000_000_000,
        oscillator: Oscillator {
            ppm: 30.0,
            ..Oscillator::default()
        },
        wall: Wall {
            offset: Span::from_millis(120),
            ..Wall::default()
        },
        light_to_wire: Span::from_millis(40),
        gop: 30,
        i_frame: Span::from_millis(12),
        b_frames: 0,
        preroll: Span::ZERO,
        reconnects: Vec::new(),
        rtp_resets: Vec::new(),
        outliers: None,
        doubled_every: 0,
        exposure: None,
        reports: Some(Reports {
            every: Span::from_secs(5),
            first_after: Span::from_millis(2_500),
            anchor: Anchor::Capture,
            noise_ms: 0.3,
            stale: Span::ZERO,
            doubled: false,
            foreign_every: 0,
            ntp: None,
            rtp_zero: false,
            silent: None,
            rtp_back: None,
        }),
        network: Network {
            least: Span::from_micros(300),
            jitter_ms: 1.5,
            spikes: 0.01,
            ordered: true,
            loss: 0.0,
            stalls: Vec::new(),
            path_change: None,
            outages: Vec::new(),
        },
        declared_bias: Span::ZERO,
        declared_error: Span::from_millis(5),
    }
}

/// Times in rows are in seconds.
fn secs(s: f64) -> Span {
    Span::from_secs_f64(s)
}

impl Camera {
    /// Runs at `fps`.
    pub fn at_fps(mut self, fps: f64) -> Camera {
        self.fps = fps;
        self
    }
    /// Changes to `fps` at `at_s`.
    pub fn then_fps(mut self, at_s: f64, fps: f64) -> Camera {
        self.fps_changes.push((secs(at_s), fps));
        self
    }
    /// Its shutter opens `ms` later.
    pub fn phased(mut self, ms: f64) -> Camera {
        self.phase = secs(ms / 1e3);
        self
    }
    /// Declares a media clock of `hz`.
    pub fn clock_rate(mut self, hz: u32) -> Camera {
        self.rate_hz = hz;
        self
    }
    /// Its media clock really runs at `factor` times what it declares.
    pub fn rate_lie(mut self, factor: f64) -> Camera {
        self.rate_lie = factor;
        self
    }
    /// RTP time starts at `rtp`.
    pub fn rtp_from(mut self, rtp: u32) -> Camera {
        self.first_rtp = rtp;
        self
    }
    /// Its RTP time wraps `s` seconds after the start.
    pub fn wraps_at(self, s: f64) -> Camera {
        let before = (s * f64::from(self.rate_hz)) as u32;
        self.rtp_from(0_u32.wrapping_sub(before))
    }
    /// Its quartz is `ppm` too fast.
    pub fn drifting(mut self, ppm: f64) -> Camera {
        self.oscillator.ppm = ppm;
        self
    }
    /// ... and wanders by up to `ppm` in `period_s`.
    pub fn wandering(mut self, ppm: f64, period_s: f64) -> Camera {
        self.oscillator.wander_ppm = ppm;
        self.oscillator.wander_period_s = period_s;
        self
    }
    /// Its wall clock is off by `s` from the start.
    pub fn wall_off(mut self, s: f64) -> Camera {
        self.wall.offset = secs(s);
        self
    }
    /// Its wall clock steps by `by_s` at `at_s`.
    pub fn wall_steps(mut self, at_s: f64, by_s: f64) -> Camera {
        self.wall.steps.push((secs(at_s), secs(by_s)));
        self
    }
    /// Its wall clock runs `ppm` too fast (a smear, or no NTP).
    pub fn wall_drifts(mut self, ppm: f64) -> Camera {
        self.wall.ppm = ppm;
        self
    }
    /// Light to wire takes `ms` at least.
    pub fn encodes_in(mut self, ms: i64) -> Camera {
        self.light_to_wire = Span::from_millis(ms);
        self
    }
    /// Uses `n` B frames between two others.
    pub fn with_b_frames(mut self, n: u32) -> Camera {
        self.b_frames = n;
        self
    }
    /// Sends the `s` seconds before the connection first.
    pub fn with_preroll(mut self, s: f64) -> Camera {
        self.preroll = secs(s);
        self
    }
    /// Reboots at `at_s`: a new connection, RTP time from `rtp`.
    pub fn reboots(mut self, at_s: f64, rtp: u32) -> Camera {
        self.reconnects.push((secs(at_s), rtp));
        self.network.outages.push((secs(at_s - 2.0), secs(2.0)));
        self
    }
    /// Its RTP time starts anew at `rtp`, within the connection.
    pub fn resets_rtp(mut self, at_s: f64, rtp: u32) -> Camera {
        self.rtp_resets.push((secs(at_s), rtp));
        self
    }
    /// Every `nth` frame is stamped `off_s` away.
    pub fn outlier_every(mut self, nth: u32, off_s: f64) -> Camera {
        self.outliers = Some((nth, secs(off_s)));
        self
    }
    /// Every `nth` frame is followed by another of the same stamp.
    pub fn doubles_every(mut self, nth: u32) -> Camera {
        self.doubled_every = nth;
        self
    }
    /// From `at_s` on, pictures are taken `ms` earlier than stamped.
    pub fn exposes_longer(mut self, at_s: f64, ms: f64) -> Camera {
        self.exposure = Some((secs(at_s), secs(ms / 1e3)));
        self
    }
    /// Sends no reports.
    pub fn without_reports(mut self) -> Camera {
        self.reports = None;
        self
    }
    /// Changes its reports, if it sends any.
    pub fn reports(mut self, change: impl FnOnce(&mut Reports)) -> Camera {
        if let Some(reports) = &mut self.reports {
            change(reports);
        }
        self
    }
    /// Sends a report every `s` seconds.
    pub fn reports_every(self, s: f64) -> Camera {
        self.reports(|r| r.every = secs(s))
    }
    /// This share of reports is late by `mean_ms` on average and `limit_ms` at most.
    pub fn late_reports(self, share: f64, mean_ms: i64, limit_ms: i64) -> Camera {
        self.reports(|r| {
            r.anchor = Anchor::Late {
                share,
                mean: Span::from_millis(mean_ms),
                limit: Span::from_millis(limit_ms),
            };
        })
    }
    /// Reports state this NTP time.
    pub fn ntp(self, ntp: u64) -> Camera {
        self.reports(|r| r.ntp = Some(ntp))
    }
    /// Changes its network.
    pub fn network(mut self, change: impl FnOnce(&mut Network)) -> Camera {
        change(&mut self.network);
        self
    }
    /// Loses this share of frames.
    pub fn losing(self, share: f64) -> Camera {
        self.network(|n| n.loss = share)
    }
    /// Nothing arrives from `at_s` for `for_s`, then all at once.
    pub fn stalls(self, at_s: f64, for_s: f64) -> Camera {
        self.network(|n| n.stalls.push((secs(at_s), secs(for_s))))
    }
    /// Everything sent from `at_s` for `for_s` is lost.
    pub fn dark(self, at_s: f64, for_s: f64) -> Camera {
        self.network(|n| n.outages.push((secs(at_s), secs(for_s))))
    }
    /// From `at_s` on everything takes `ms` longer.
    pub fn path_grows(self, at_s: f64, ms: i64) -> Camera {
        self.network(|n| n.path_change = Some((secs(at_s), Span::from_millis(ms))))
    }
    /// Goes over UDP: packets may overtake each other.
    pub fn over_udp(self) -> Camera {
        self.network(|n| n.ordered = false)
    }
    /// The box is told that its stamps are late by `bias_ms`, give or take `error_ms`.
    pub fn declared(mut self, bias_ms: i64, error_ms: i64) -> Camera {
        self.declared_bias = Span::from_millis(bias_ms);
        self.declared_error = Span::from_millis(error_ms);
        self
    }
}
