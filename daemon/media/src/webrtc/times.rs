//! Media time to RTP time and back, what sender reports say of it, and what the viewer's reports say.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use synoptic_base::{MediaTime, Mono, Span};
use synoptic_engine::pacing::ViewerReport;

use super::rtcp;
use crate::coded::{CodedFrame, CodedSound, CodedStream};
use crate::output::rtp;
use crate::session::locked;

/// Ticks of RTP time a second of Opus, whatever went into it (RFC 7587 section 4.1).
const SOUND_HZ: i64 = 48_000;
/// Pictures between the feed and the network whose capture times are remembered.
const MAX_INSIDE: usize = 128;

/// The RTP time of a picture in every WHEP session: ticks of 90 kHz (RFC 6184 section 8.2.1) of its media time, the fraction
/// of a tick rounded up, the lowest 32 bits of it.
///
/// Up, since media times are rounded down: so an RTP camera's own ticks come out again, whatever their fraction of a
/// microsecond was. Two media times that are 12 µs or more apart have different RTP times.
pub fn rtp_time(media: MediaTime) -> u32 {
    ticks(media) as u32
}

fn ticks(media: MediaTime) -> u128 {
    (u128::from(media.as_micros().max(0).unsigned_abs()) * 9).div_ceil(100)
}

/// The least running time that a payloader without an offset writes as the picture's RTP time: it rounds down.
pub(super) fn running_time(media: MediaTime) -> gst::ClockTime {
    // Below 2^63 for every media time below 2^53 µs.
    gst::ClockTime::from_nseconds((ticks(media) * 100_000).div_ceil(9) as u64)
}

/// What ties a session's RTP times to capture times, and when its viewer was heard last.
#[derive(Debug)]
pub(super) struct Times {
    stream: Arc<CodedStream>,
    /// The newest pictures: their RTP times, and when they were captured.
    sent: Mutex<VecDeque<(u32, Mono)>>,
    /// The same of the newest sound.
    heard_of: Mutex<Option<(u32, Mono)>>,
    /// Of the pictures, and of the sound; 0: none.
    ssrcs: [AtomicU32; 2],
    /// What the viewer told since it was asked for.
    told: Mutex<ViewerReport>,
    /// Under which id the capture time stands in the header of each picture's first packet.
    capture_id: Option<u8>,
    /// Of the box's clock, in ns.
    heard: AtomicI64,
}

impl Times {
    pub(super) fn new(stream: Arc<CodedStream>, capture_id: Option<u8>) -> Arc<Times> {
        let now = stream.now();
        Arc::new(Times {
            stream,
            sent: Mutex::default(),
            heard_of: Mutex::default(),
            ssrcs: Default::default(),
            told: Mutex::default(),
            capture_id,
            heard: AtomicI64::new(now.as_nanos()),
        })
    }

    /// A picture leaves.
    pub(super) fn sent(&self, frame: &CodedFrame) {
        let mut sent = locked(&self.sent);
        if sent.len() == MAX_INSIDE {
            sent.pop_front();
        }
        sent.push_back((rtp_time(frame.key.media_us), frame.captured.mono));
    }

    /// Sound leaves.
    pub(super) fn sound_sent(&self, sound: &CodedSound) {
        // As GStreamer's base payloader does it without an offset: rounded down.
        let ticks = i128::from(sound.media_us.max(0)) * i128::from(SOUND_HZ) / 1_000_000;
        *locked(&self.heard_of) = Some((ticks as u32, sound.captured.mono));
    }

    /// The sources of the session: of the pictures, and of the sound (0: none).
    pub(super) fn set_sources(&self, pictures: u32, sound: u32) {
        self.ssrcs[0].store(pictures, Ordering::Relaxed);
        self.ssrcs[1].store(sound, Ordering::Relaxed);
    }

    /// What the viewer told since this was called last.
    pub(super) fn take_told(&self) -> ViewerReport {
        std::mem::take(&mut *locked(&self.told))
    }

    fn listen(&self, compound: &[u8]) {
        let now = self.stream.ntp(self.stream.now());
        let report = rtcp::report(compound, self.ssrcs[0].load(Ordering::Relaxed), now);
        let mut told = locked(&self.told);
        *told = ViewerReport {
            estimate_bps: report.estimate_bps.or(told.estimate_bps),
            round_trip: report.round_trip.or(told.round_trip),
            lost: report.lost.or(told.lost),
        };
    }

    /// The viewer was heard.
    pub(super) fn hear(&self) {
        self.heard.store(self.stream.now().as_nanos(), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn grow_silent(&self, by: Span) {
        self.heard.fetch_sub(by.as_nanos(), Ordering::Relaxed);
    }

    /// How long the viewer was not heard.
    pub(super) fn silence(&self) -> Span {
        self.stream.now() - Mono::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    /// Makes the first packet of each picture that a payloader sends tell its capture time, where the viewer wants it.
    pub(super) fn watch_payloader(self: &Arc<Self>, pad: &gst::Pad) {
        let Some(id) = self.capture_id else {
            return;
        };
        let times = self.clone();
        let written = Mutex::new(None);
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |_, info| {
            let mut written = locked(&written);
            if let Some(buffer) = info.buffer_mut() {
                times.set_capture_time(id, &mut written, buffer.make_mut());
            } else if let Some(list) = info.buffer_list_mut()
                && let Some(first) = list.make_mut().get_mut(0)
            {
                // Those of a list are pieces of one NAL unit.
                times.set_capture_time(id, &mut written, first);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn set_capture_time(&self, id: u8, written: &mut Option<u32>, packet: &mut gst::BufferRef) {
        let with = packet.map_readable().ok().and_then(|map| {
            let ticks = rtp::timestamp(&map).filter(|ticks| *written != Some(*ticks))?;
            *written = Some(ticks);
            let sent = locked(&self.sent);
            let (_, captured) = *sent.iter().rev().find(|(rtp, _)| *rtp == ticks)?;
            drop(sent);
            rtp::with_extension(&map, id, &self.stream.ntp(captured).to_be_bytes())
        });
        if let Some(with) = with {
            packet.replace_all_memory(gst::Memory::from_mut_slice(with));
        }
    }

    /// Watches the RTP session: its sender reports tell capture times, and every packet of the viewer is a sign of life.
    pub(super) fn watch(self: &Arc<Self>, rtpbin: &gst::Element) {
        for pad in rtpbin.pads() {
            self.watch_pad(&pad);
        }
        let times = self.clone();
        rtpbin.connect_pad_added(move |_, pad| times.watch_pad(pad));
    }

    fn watch_pad(self: &Arc<Self>, pad: &gst::Pad) {
        let name = pad.name();
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        let times = self.clone();
        if name.starts_with("send_rtcp_src") {
            pad.add_probe(mask, move |_, info| {
                if let Some(packet) = info.buffer_mut() {
                    times.set_reports(packet.make_mut());
                }
                gst::PadProbeReturn::Ok
            });
        } else if name.starts_with("recv_rtcp_sink") {
            pad.add_probe(mask, move |_, info| {
                times.hear();
                if let Some(packet) = info.buffer().and_then(|b| b.map_readable().ok()) {
                    times.listen(&packet);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    fn set_reports(&self, packet: &mut gst::BufferRef) {
        let reports = packet.map_readable().is_ok_and(|p| rtp::has_report(&p));
        if !reports {
            return;
        }
        let now = self.stream.now();
        let pictures = (locked(&self.sent).back().copied(), rtp::VIDEO_HZ);
        let sound = (*locked(&self.heard_of), SOUND_HZ as u32);
        let sound_ssrc = self.ssrcs[1].load(Ordering::Relaxed);
        let times = |ssrc: u32| {
            let (last, rate_hz) = if ssrc == sound_ssrc { sound } else { pictures };
            let (ticks, captured) = last?;
            let rtp_now = rtp::after(ticks, (now - captured).as_nanos(), rate_hz);
            Some((self.stream.ntp(now), rtp_now))
        };
        match packet.map_writable() {
            Ok(mut bytes) => rtp::set_reports_of(&mut bytes, times),
            Err(e) => log::warn!(
                "{}: a sender report tells the time of sending: {e}",
                self.stream.id()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_camera_come_out_again_and_wrap() {
        for ticks in [
            0_u64,
            1,
            2,
            7,
            8,
            9,
            3_003,
            90_000,
            (1 << 32) - 1,
            1 << 32,
            123_456_789_012_347,
        ] {
            let media = MediaTime::from_micros((ticks * 100 / 9) as i64);
            assert_eq!(rtp_time(media), ticks as u32, "{ticks}");
        }
        for ms in [0_i64, 1, 40, 33_333, 86_400_000] {
            let media = MediaTime::from_micros(ms * 1_000);
            assert_eq!(rtp_time(media), (ms * 90) as u32);
        }
    }

    #[test]
    fn a_payloader_writes_the_rtp_time() {
        for us in [
            0_i64,
            1,
            11,
            12,
            33_333,
            66_666,
            100_000,
            40_000_000_001,
            (1 << 53) - 1,
        ] {
            let media = MediaTime::from_micros(us);
            let ns = running_time(media).nseconds();
            // As GStreamer's base payloader does it: floor(ns x 90,000 / 10^9).
            assert_eq!((u128::from(ns) * 9 / 100_000) as u32, rtp_time(media), "{us}");
            assert!(ns < i64::MAX as u64);
        }
        let apart = |a: i64| rtp_time(MediaTime::from_micros(a)) != rtp_time(MediaTime::from_micros(a + 12));
        assert!((0..10_000).all(apart));
    }
}
