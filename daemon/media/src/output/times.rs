//! RTP times that mean capture times: what sender reports and RFC 6051 header extensions say.
//!
//! GStreamer writes a report with the time of sending against the RTP time of then, by its own reckoning of the latency: 54 ms
//! apart were measured between two of its settings. Here both halves are of one instant of the box's clock: its UTC by the
//! relay's clock map, and its RTP time by a packet that left.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use synoptic_base::{Mono, Span};

use super::rtp;
use crate::coded::CodedStream;
use crate::session::locked;

/// URI of the RFC 6051 header extension.
const NTP_64: &str = "urn:ietf:params:rtp-hdrext:ntp-64";
/// Its id on our lines: any of 1 to 14 (RFC 8285 section 4.2).
const NTP_64_ID: u8 = 1;
/// URI of the header extension with the capture time of a picture (8 bytes of NTP time), and its id on our lines.
const CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const CAPTURE_TIME_ID: u8 = 2;
/// Pictures between the feed and the network of which more than the running time must be known: two seconds of them.
const MAX_MOVED: usize = 120;

/// In which form the headers of packets tell capture times: RTP has room for one block of extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderTimes {
    /// RFC 6051 (where this GStreamer can, 1.22 and up) and abs-capture-time, in one-byte extensions (RFC 8285).
    #[default]
    Standard,
    /// The ONVIF replay extension, `0xABAC`, for video management systems that read nothing else.
    Onvif,
}

/// What ties a stream's RTP times to its capture times.
pub(super) struct RtpTimes {
    stream: Arc<CodedStream>,
    /// The box's clock at running time 0.
    base: Mono,
    /// Which stream of its media: pictures are the first one.
    session: u32,
    /// Ticks of RTP time a second.
    rate_hz: u32,
    /// The newest packet: its RTP time, and what that is on the box's clock.
    last: Mutex<Option<(u32, Mono)>>,
    given: Mutex<Given>,
    /// Running time, in nanoseconds, of the first picture that may leave.
    begin: AtomicU64,
}

/// Running times that were given.
#[derive(Default)]
struct Given {
    last: Option<gst::ClockTime>,
    /// Those of the newest pictures that are not their capture times, which are beside them.
    moved: VecDeque<(gst::ClockTime, Mono)>,
}

impl RtpTimes {
    /// Of the pictures.
    pub(super) fn new(stream: Arc<CodedStream>, base: Mono) -> Arc<RtpTimes> {
        RtpTimes::of(stream, base, 0, rtp::VIDEO_HZ)
    }

    /// Of another stream of the same media, with `rate_hz` ticks of RTP time a second.
    pub(super) fn of(stream: Arc<CodedStream>, base: Mono, session: u32, rate_hz: u32) -> Arc<RtpTimes> {
        Arc::new(RtpTimes {
            stream,
            base,
            session,
            rate_hz,
            last: Mutex::default(),
            given: Mutex::default(),
            begin: AtomicU64::new(0),
        })
    }

    /// No picture leaves until [`RtpTimes::begin_at`]: what would leave is filler, without which what sends does not start.
    pub(super) fn hold(&self) {
        self.begin.store(u64::MAX, Ordering::Relaxed);
    }

    /// Pictures of this running time and later leave, those of before never do.
    pub(super) fn begin_at(&self, time: gst::ClockTime) {
        self.begin.store(time.nseconds(), Ordering::Relaxed);
    }

    /// Whether a packet is of before the beginning.
    fn is_early(&self, packet: &gst::BufferRef) -> bool {
        let begin = self.begin.load(Ordering::Relaxed);
        packet.pts().is_some_and(|pts| pts.nseconds() < begin)
    }

    /// The running time of a picture that is `shown` then, which is its capture time but in a slot of a constant rate. Where a better time source moves capture times back, the pictures up
    /// to the last one's time follow it closely, for RTP times do not go back; their headers and SEI are exact all the same.
    pub(super) fn running_time(&self, shown: Mono, captured: Mono) -> gst::ClockTime {
        let exact = gst::ClockTime::from_nseconds((shown - self.base).as_nanos().max(0) as u64);
        let mut given = locked(&self.given);
        let next = given.last.map(|last| last + gst::ClockTime::from_useconds(1));
        let time = next.map_or(exact, |next| exact.max(next));
        if time != exact || shown != captured {
            if given.moved.len() == MAX_MOVED {
                given.moved.pop_front();
            }
            given.moved.push_back((time, captured));
        }
        given.last = Some(time);
        time
    }

    /// Makes the first packet of each picture that a payloader sends tell its capture time, and watches what it sends.
    pub(super) fn watch_payloader(self: &Arc<Self>, payloader: &gst::Element, header: HeaderTimes) {
        let Some(pad) = payloader.static_pad("src") else {
            return;
        };
        if header == HeaderTimes::Standard {
            if gst::ElementFactory::find("rtphdrextntp64").is_some() {
                ask_for_extension(&pad);
            }
            tell_of_extension(&pad);
        }
        let times = self.clone();
        let written = Mutex::new(None);
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |_, info| {
            let mut written = locked(&written);
            if let Some(buffer) = info.buffer_mut() {
                times.learn(buffer);
                times.extend(header, &mut written, buffer.make_mut());
            } else if let Some(list) = info.buffer_list_mut()
                && let Some(first) = list.make_mut().get_mut(0)
            {
                // Those of a list are pieces of one NAL unit.
                times.learn(first);
                times.extend(header, &mut written, first);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Writes the capture time into the header of a packet that begins a picture.
    fn extend(&self, header: HeaderTimes, written: &mut Option<u32>, packet: &mut gst::BufferRef) {
        let Some(captured) = self.captured(packet) else {
            return;
        };
        let flags = rtp::OnvifFlags {
            clean_point: !packet.flags().contains(gst::BufferFlags::DELTA_UNIT),
            discontinuity: packet.flags().contains(gst::BufferFlags::DISCONT),
        };
        let with = packet.map_readable().ok().and_then(|map| {
            let ticks = rtp::timestamp(&map).filter(|ticks| *written != Some(*ticks))?;
            *written = Some(ticks);
            let ntp = self.stream.ntp(captured);
            match header {
                HeaderTimes::Standard => rtp::with_extension(&map, CAPTURE_TIME_ID, &ntp.to_be_bytes()),
                HeaderTimes::Onvif => rtp::with_onvif(&map, ntp, flags),
            }
        });
        if let Some(with) = with {
            packet.replace_all_memory(gst::Memory::from_mut_slice(with));
        }
    }

    fn learn(&self, packet: &gst::BufferRef) {
        let Some(pts) = packet.pts() else {
            return;
        };
        // The RTP time is linear in the running time, whatever was captured then.
        let captured = self.base + Span::from_nanos(pts.nseconds() as i64);
        if let Some(ticks) = packet.map_readable().ok().and_then(|p| rtp::timestamp(&p)) {
            *locked(&self.last) = Some((ticks, captured));
        }
    }

    fn captured(&self, packet: &gst::BufferRef) -> Option<Mono> {
        let pts = packet.pts()?;
        let moved = locked(&self.given)
            .moved
            .iter()
            .find(|(time, _)| *time == pts)
            .map(|(_, captured)| *captured);
        let plain = || Some(self.base + Span::from_nanos(i64::try_from(pts.nseconds()).ok()?));
        moved.or_else(plain)
    }

    /// Watches the RTP session that the packets leave by: now, and pads that come later.
    pub(super) fn watch_session(self: &Arc<Self>, rtpbin: &gst::Element) {
        for pad in rtpbin.pads() {
            self.watch_pad(&pad);
        }
        let times = self.clone();
        rtpbin.connect_pad_added(move |_, pad| times.watch_pad(pad));
    }

    fn watch_pad(self: &Arc<Self>, pad: &gst::Pad) {
        let name = pad.name();
        // `send_rtp_src_SESSION`, as rtpbin calls them.
        if name.rsplit('_').next().and_then(|n| n.parse().ok()) != Some(self.session) {
            return;
        }
        let set: fn(&RtpTimes, &mut gst::BufferRef) = if name.starts_with("send_rtcp_src") {
            RtpTimes::set_reports
        } else if name.starts_with("send_rtp_src") {
            RtpTimes::set_packet
        } else {
            return;
        };
        let times = self.clone();
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                set(&times, buffer.make_mut());
            } else if let Some(list) = info.buffer_list_mut() {
                let list = list.make_mut();
                for i in 0..list.len() {
                    if let Some(packet) = list.get_mut(i) {
                        set(&times, packet);
                    }
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn set_early(&self, packet: &mut gst::BufferRef) {
        if !self.is_early(packet) {
            return;
        }
        let filled = packet.map_writable().ok().and_then(|mut p| rtp::fill(&mut p));
        if let Some(length) = filled {
            packet.set_size(length);
        }
    }

    fn set_reports(&self, packet: &mut gst::BufferRef) {
        let reports = packet.map_readable().is_ok_and(|p| rtp::has_report(&p));
        let Some((ticks, captured)) = reports.then(|| *locked(&self.last)).flatten() else {
            return;
        };
        let now = self.stream.now();
        match packet.map_writable() {
            Ok(mut bytes) => {
                let rtp = rtp::after(ticks, (now - captured).as_nanos(), self.rate_hz);
                rtp::set_reports(&mut bytes, self.stream.ntp(now), rtp);
            }
            Err(e) => log::warn!(
                "{}: a sender report tells the time of sending: {e}",
                self.stream.id()
            ),
        }
    }

    fn set_packet(&self, packet: &mut gst::BufferRef) {
        self.set_early(packet);
        self.set_extension(packet);
    }

    fn set_extension(&self, packet: &mut gst::BufferRef) {
        let Some(captured) = self.captured(packet) else {
            return;
        };
        if let Ok(mut bytes) = packet.map_writable() {
            rtp::set_ntp_extension(&mut bytes, NTP_64_ID, self.stream.ntp(captured));
        }
    }
}

/// Makes a payloader write the RFC 6051 extension: it writes what the caps behind it want, and here they do.
fn ask_for_extension(pad: &gst::Pad) {
    // After the answer (that is what PULL means for a query) and before the payloader sees it.
    let mask = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PULL;
    pad.add_probe(mask, |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Caps(query) = query.view_mut()
            && let Some(mut caps) = query.result_owned()
        {
            let field = format!("extmap-{NTP_64_ID}");
            for structure in caps.make_mut().iter_mut() {
                if structure.name() == "application/x-rtp" {
                    structure.set(field.as_str(), NTP_64);
                }
            }
            query.set_result(&caps);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Makes the session description tell of the abs-capture-time extension, which no element of GStreamer writes: it is made of
/// the caps that the payloader sends on.
fn tell_of_extension(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let told = info.event().and_then(|event| match event.view() {
            gst::EventView::Caps(caps) => Some(caps.caps_owned()),
            _ => None,
        });
        if let Some(mut caps) = told {
            let field = format!("extmap-{CAPTURE_TIME_ID}");
            for structure in caps.make_mut().iter_mut() {
                structure.set(field.as_str(), CAPTURE_TIME);
            }
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks::SystemClock;
    use crate::coded::Relay;
    use synoptic_base::StreamId;

    #[test]
    fn running_times_never_go_back_and_the_capture_times_are_remembered() {
        gst::init().unwrap();
        let stream = Relay::new(SystemClock::shared()).stream(StreamId::new("a").unwrap());
        let base = Mono::from_nanos(1_000_000_000);
        let times = RtpTimes::new(stream, base);
        let at = |ms: i64| base + Span::from_millis(ms);
        let given: Vec<u64> = [0, 66, 132, 100, 166, 300]
            .map(|ms| times.running_time(at(ms), at(ms)).useconds())
            .to_vec();
        assert_eq!(given, [0, 66_000, 132_000, 132_001, 166_000, 300_000]);
        let mut packet = gst::Buffer::new();
        let mut captured = |us: u64| {
            let packet = packet.make_mut();
            packet.set_pts(gst::ClockTime::from_useconds(us));
            times.captured(packet)
        };
        assert_eq!(captured(132_001), Some(at(100)));
        assert_eq!(captured(132_000), Some(at(132)));
        assert_eq!(captured(166_000), Some(at(166)));
        // Before the pipeline began to count.
        let before = base - Span::from_secs(1);
        assert_eq!(times.running_time(before, before).useconds(), 300_001);
        // A picture in the slot of a constant rate, shown again: the header tells its capture.
        assert_eq!(times.running_time(at(400), at(365)).useconds(), 400_000);
        assert_eq!(captured(400_000), Some(at(365)));
    }
}
