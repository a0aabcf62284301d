//! Camera UTC on the frames themselves: header extensions, media clocks tied to a reference, SEI.
//!
//! Parsing is `engine`'s; this hands it the bytes and what the session description says of them.

use synoptic_base::{Mono, Utc};
use synoptic_engine::timebase::wire::{ExtensionKind, MediaClock, RefClock, packet_times, reference_clock};
use synoptic_engine::timebase::{RtpTimebase, StampKind};

use super::{Shared, Timing, locked, rtcp};

/// What the session description of a stream says of its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Signalled {
    /// `a=extmap` ids that carry time.
    ids: Vec<(u8, ExtensionKind)>,
    /// `a=ts-refclk` with `a=mediaclk:direct`, and the RTP clock rate.
    reference: Option<(RefClock, u32, u32)>,
    /// RTP time of the frame whose stamp was taken last: one packet of a frame says it all.
    taken: Option<u32>,
}

impl Signalled {
    /// From the caps that rtspsrc makes of the session description: `extmap-N`, `a-ts-refclk`, `a-mediaclk`.
    pub(super) fn from_caps(caps: &gst::StructureRef, clock_rate_hz: u32) -> Signalled {
        let ids = caps.fields().filter_map(|name| {
            let id = name.strip_prefix("extmap-")?.parse::<u8>().ok()?;
            // A string, or an array of direction, URI and attributes.
            let uri = match caps.get::<String>(name) {
                Ok(uri) => uri,
                Err(_) => caps.get::<gst::Array>(name).ok()?.get(1)?.get::<String>().ok()?,
            };
            Some((id, ExtensionKind::from_uri(&uri)?))
        });
        let ids = ids.collect();
        let text = |name: &str| caps.get::<String>(name).unwrap_or_default();
        let reference = match reference_clock(&text("a-ts-refclk"), &text("a-mediaclk")) {
            Some((clock, MediaClock::Direct(offset))) => Some((clock, offset, clock_rate_hz)),
            _ => None,
        };
        Signalled {
            ids,
            reference,
            taken: None,
        }
    }

    /// The same for another sender within the same session description: what was taken says nothing of its packets.
    pub(super) fn of_another_sender(&self) -> Signalled {
        Signalled {
            taken: None,
            ..self.clone()
        }
    }

    /// Takes the times of an RTP packet. `now` is the box's UTC, for what the wire leaves out.
    pub(super) fn packet(
        &mut self,
        timebase: &mut RtpTimebase,
        packet: &[u8],
        arrival: Mono,
        now: impl FnOnce() -> Utc,
    ) {
        let Some((_, rtp)) = rtcp::rtp_header(packet) else {
            return;
        };
        let extended = packet.first().is_some_and(|b| b & 0x10 != 0);
        if self.taken == Some(rtp) || (!extended && self.reference.is_none()) {
            return;
        }
        let now = now();
        for time in packet_times(packet, &self.ids, now) {
            // "Capture NTP clock = sender NTP clock + capture clock offset": the reports are of the sender's.
            let wall = time.wall - time.clock_offset.unwrap_or_default();
            timebase.stamp(time.kind, rtp, wall, arrival);
            self.taken = Some(rtp);
        }
        if let Some((clock, offset, rate)) = &self.reference
            && let Some(utc) = clock.utc_of(rtp, *offset, *rate, now)
        {
            timebase.stamp(StampKind::ReferenceClock, rtp, utc, arrival);
            self.taken = Some(rtp);
        }
    }
}

/// Takes UTC from the SEI of the picture `stamp`.
pub(super) fn sei(shared: &Shared, stamp: i64, utc: Utc, arrival: Mono) {
    if let Some(Timing::Rtp { timebase, .. }) = &mut *locked(&shared.timing) {
        timebase.stamp(StampKind::Sei, stamp as u32, utc, arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_session_description_signals() {
        gst::init().unwrap();
        let uri = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
        let caps = gst::Caps::builder("application/x-rtp")
            .field("extmap-3", "urn:ietf:params:rtp-hdrext:ntp-64")
            .field("extmap-9", gst::Array::new(["sendonly", uri, ""]))
            .field("extmap-x", "urn:ietf:params:rtp-hdrext:ntp-64")
            .field("a-ts-refclk", "ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:0")
            .field("a-mediaclk", "direct=77")
            .build();
        let signalled = Signalled::from_caps(caps.structure(0).unwrap(), 90_000);
        assert!(signalled.ids.contains(&(3, ExtensionKind::Ntp64)));
        assert!(signalled.ids.contains(&(9, ExtensionKind::AbsCaptureTime)));
        assert_eq!(signalled.ids.len(), 2);
        assert!(matches!(
            signalled.reference,
            Some((RefClock::Ptp(_), 77, 90_000))
        ));
    }
}
