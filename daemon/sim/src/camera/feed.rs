//! Where pictures leave: the pipeline of the RTSP media that is being served, and the probes that give its
//! packets the camera's own time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use synoptic_base::{Clock, Mono, Span};

use super::clockwork::Clockwork;
use super::options::ReportMode;
use super::rtp;

/// Pictures between appsrc and payloader of which the capture time is remembered.
const IN_FLIGHT: usize = 128;

/// What all threads of a camera share.
pub(super) struct Shared {
    pub name: String,
    pub clock: Arc<dyn Clock>,
    pub clockwork: Mutex<Clockwork>,
    pub report_mode: ReportMode,
    pub report_interval: Span,
    pub frozen: AtomicBool,
    /// Synchronisation source of the packets once it was changed; before, the payloader's own.
    pub ssrc: Mutex<Option<u32>>,
    pub counters: Counters,
    feed: Mutex<Option<Arc<Feed>>>,
}

/// Counters of a camera, all since its start.
#[derive(Default)]
pub(super) struct Counters {
    pub frames: AtomicU64,
    pub late_frames: AtomicU64,
    pub reports: AtomicU64,
    pub medias: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        name: &str,
        clock: Arc<dyn Clock>,
        clockwork: Clockwork,
        report_mode: ReportMode,
        report_interval: Span,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            name: name.to_owned(),
            clock,
            clockwork: Mutex::new(clockwork),
            report_mode,
            report_interval,
            frozen: AtomicBool::new(false),
            ssrc: Mutex::new(None),
            counters: Counters::default(),
            feed: Mutex::new(None),
        })
    }

    pub(super) fn clockwork(&self) -> Clockwork {
        *lock(&self.clockwork)
    }

    /// Where to put pictures now; `None` while nobody watches.
    pub(super) fn feed(&self) -> Option<Arc<Feed>> {
        lock(&self.feed).clone()
    }

    pub(super) fn set_feed(&self, feed: Option<Arc<Feed>>) {
        *lock(&self.feed) = feed;
    }

    /// Forgets `feed` unless a newer one has taken its place.
    pub(super) fn drop_feed(&self, feed: &Arc<Feed>) {
        let mut current = lock(&self.feed);
        if current.as_ref().is_some_and(|f| Arc::ptr_eq(f, feed)) {
            *current = None;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way into one RTSP media.
pub(super) struct Feed {
    pub source: gst_app::AppSrc,
    /// Running time that a picture was pushed with, and when it was captured.
    captures: Mutex<VecDeque<(gst::ClockTime, Mono)>>,
    /// From capture to payloader, of the newest picture, in ns.
    lag_ns: AtomicI64,
}

impl Feed {
    pub(super) fn new(source: gst_app::AppSrc) -> Arc<Feed> {
        Arc::new(Feed {
            source,
            captures: Mutex::default(),
            lag_ns: AtomicI64::new(0),
        })
    }

    /// Whether the pipeline takes pictures.
    pub(super) fn runs(&self) -> bool {
        self.source.current_state() == gst::State::Playing
    }

    /// Gives a picture captured at `captured` to the pipeline; `false` when that does not run.
    pub(super) fn push(&self, mut buffer: gst::Buffer, captured: Mono) -> bool {
        if !self.runs() {
            return false;
        }
        // The pipeline runs on GStreamer's system clock, which is CLOCK_MONOTONIC (see server.rs).
        let Some(pts) = self.source.base_time().and_then(|base| {
            let ns = u64::try_from(captured.as_nanos()).ok()?;
            gst::ClockTime::from_nseconds(ns).checked_sub(base)
        }) else {
            return false;
        };
        let data = buffer.make_mut();
        data.set_pts(pts);
        data.set_dts(gst::ClockTime::NONE);
        {
            let mut captures = lock(&self.captures);
            captures.push_back((pts, captured));
            if captures.len() > IN_FLIGHT {
                captures.pop_front();
            }
        }
        self.source.push_buffer(buffer).is_ok()
    }

    fn captured(&self, running_time: gst::ClockTime) -> Option<Mono> {
        let captures = lock(&self.captures);
        captures
            .iter()
            .rev()
            .find(|(t, _)| *t == running_time)
            .map(|(_, c)| *c)
    }

    /// Gives every packet that leaves `pad` the RTP time of its picture's capture.
    pub(super) fn stamp_packets(self: &Arc<Feed>, shared: &Arc<Shared>, pad: &gst::Pad) {
        let (feed, shared) = (self.clone(), shared.clone());
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |pad, info| {
            // x264enc shifts its time stamps by 1000 h and the segment with them: only running time is stable.
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let running_time = |pts: Option<gst::ClockTime>| {
                let segment = segment
                    .as_ref()?
                    .segment()
                    .downcast_ref::<gst::ClockTime>()?
                    .clone();
                segment.to_running_time(pts?)
            };
            let stamped = if let Some(buffer) = info.buffer_mut() {
                let captured = running_time(buffer.pts()).and_then(|t| feed.captured(t));
                captured.is_some_and(|c| feed.stamp(&shared, buffer.make_mut(), c))
            } else if let Some(list) = info.buffer_list_mut() {
                let captured =
                    running_time(list.get(0).and_then(gst::BufferRef::pts)).and_then(|t| feed.captured(t));
                let list = list.make_mut();
                captured.is_some_and(|c| {
                    (0..list.len()).all(|i| {
                        list.get_mut(i)
                            .is_some_and(|packet| feed.stamp(&shared, packet, c))
                    })
                })
            } else {
                true
            };
            if stamped {
                gst::PadProbeReturn::Ok
            } else {
                log::warn!("{}: a packet of no known picture is dropped", shared.name);
                gst::PadProbeReturn::Drop
            }
        });
    }

    fn stamp(&self, shared: &Shared, packet: &mut gst::BufferRef, captured: Mono) -> bool {
        let lag = shared.clock.now() - captured;
        self.lag_ns.store(lag.as_nanos(), Relaxed);
        let ticks = shared.clockwork().rtp_ticks(captured);
        let ssrc = *lock(&shared.ssrc);
        packet.map_writable().is_ok_and(|mut bytes| {
            rtp::set_timestamp(&mut bytes, ticks) && ssrc.is_none_or(|ssrc| rtp::set_ssrc(&mut bytes, ssrc))
        })
    }

    /// Makes every sender report that leaves `pad` say the camera's wall clock and media clock.
    pub(super) fn set_reports(self: &Arc<Feed>, shared: &Arc<Shared>, pad: &gst::Pad) {
        let (feed, shared) = (self.clone(), shared.clone());
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                feed.set_report(&shared, buffer.make_mut());
            } else if let Some(list) = info.buffer_list_mut() {
                let list = list.make_mut();
                for i in 0..list.len() {
                    if let Some(packet) = list.get_mut(i) {
                        feed.set_report(&shared, packet);
                    }
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn set_report(&self, shared: &Shared, packet: &mut gst::BufferRef) {
        let now = shared.clock.sample();
        let clockwork = shared.clockwork();
        let captured = match shared.report_mode {
            ReportMode::Capture => now.mono,
            ReportMode::Send => now.mono - Span::from_nanos(self.lag_ns.load(Relaxed)),
        };
        match packet.map_writable() {
            Ok(mut bytes) => {
                let ntp = clockwork.wall(now).to_ntp();
                let count = rtp::set_reports(&mut bytes, ntp, clockwork.rtp_ticks(captured));
                shared.counters.reports.fetch_add(u64::from(count), Relaxed);
            }
            Err(e) => log::warn!("{}: a sender report keeps the box's clock: {e}", shared.name),
        }
    }
}
