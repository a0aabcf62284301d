//! An RTSP server that takes what is pushed to `/take/it` (RECORD), and looks at its packets.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use gst::prelude::*;
use gst_rtsp_server::prelude::*;
use synoptic_base::{Span, Utc};
use synoptic_engine::timebase::wire::frame_sei;

use super::reader::{Report, report};
use crate::taker::Taker;

#[derive(Default)]
struct Taken {
    /// RTP time and capture UTC of each picture.
    pictures: Vec<(u32, Utc)>,
    reports: Vec<Report>,
    /// NAL units of pictures, as they come out of their packets.
    slices: Vec<Vec<u8>>,
}

pub(super) struct Recorder {
    server: Taker,
    taken: Arc<Mutex<Taken>>,
}

impl Recorder {
    pub(super) fn start() -> Recorder {
        let (record, records) = bounded(0);
        drop(record);
        Recorder::start_when(records)
    }

    /// One that answers RECORD only when the other end of `records` is gone.
    pub(super) fn start_when(records: Receiver<()>) -> Recorder {
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let of = taken.clone();
        let launch = "( rtph264depay name=depay0 ! video/x-h264,stream-format=byte-stream,alignment=nal ! fakesink sync=false )";
        let server = Taker::start(launch, move |server, factory| {
            factory.connect_media_configure(move |_, media| watch(media, &of));
            server.connect_client_connected(move |_, client| {
                let records = records.clone();
                client.connect_pre_record_request(move |_, _| {
                    let waited = records.recv_timeout(super::DEADLINE.to_std());
                    assert_eq!(
                        waited,
                        Err(RecvTimeoutError::Disconnected),
                        "nobody lets it record"
                    );
                    gst_rtsp::RTSPStatusCode::Ok
                });
            });
        });
        Recorder {
            server: server.unwrap(),
            taken,
        }
    }

    pub(super) fn port(&self) -> i32 {
        self.server.port()
    }

    /// Reports and pictures so far.
    pub(super) fn heard(&self) -> (usize, usize) {
        let taken = self.taken.lock().unwrap();
        (taken.reports.len(), taken.pictures.len())
    }

    /// NAL units of pictures so far.
    pub(super) fn slices(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().slices.clone()
    }

    /// The largest distance of what the reports say from what the pictures themselves say.
    pub(super) fn worst(&self) -> Span {
        let taken = self.taken.lock().unwrap();
        let mut worst = Span::ZERO;
        for report in &taken.reports {
            for (rtp, utc) in &taken.pictures {
                let ticks = rtp.wrapping_sub(report.rtp) as i32;
                let later = Span::from_nanos(i64::from(ticks) * 1_000_000_000 / 90_000);
                worst = worst.max((Utc::from_ntp(report.ntp) + later - *utc).abs());
            }
        }
        worst
    }
}

fn watch(media: &gst_rtsp_server::RTSPMedia, taken: &Arc<Mutex<Taken>>) {
    let bin = media.element().downcast::<gst::Bin>().unwrap();
    let depay = bin.by_name("depay0").unwrap();
    let of = taken.clone();
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    depay.static_pad("sink").unwrap().add_probe(mask, move |_, info| {
        let look = |buffer: &gst::BufferRef| {
            let packet = buffer.map_readable().unwrap();
            let rtp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
            let mut at = 12;
            if packet[0] & 0x10 != 0 {
                at += 4 + 4 * usize::from(u16::from_be_bytes([packet[14], packet[15]]));
            }
            if packet[at] & 0x1f == 6
                && let Some(sei) = frame_sei(&packet[at..], 1)
            {
                of.lock().unwrap().pictures.push((rtp, sei.utc));
            }
        };
        match (info.buffer(), info.buffer_list()) {
            (Some(buffer), _) => look(buffer),
            (None, Some(list)) => list.iter().for_each(look),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    let of = taken.clone();
    depay.static_pad("src").unwrap().add_probe(mask, move |_, info| {
        let look = |buffer: &gst::BufferRef| {
            let unit = buffer.map_readable().unwrap();
            of.lock().unwrap().slices.extend(super::slices(&unit));
        };
        match (info.buffer(), info.buffer_list()) {
            (Some(buffer), _) => look(buffer),
            (None, Some(list)) => list.iter().for_each(look),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    let of = taken.clone();
    media.connect_prepared(move |media| {
        let pipeline = media
            .element()
            .parent()
            .and_then(|p| p.downcast::<gst::Bin>().ok());
        let rtpbin = pipeline
            .unwrap()
            .children()
            .into_iter()
            .find(|e| e.factory().is_some_and(|f| f.name() == "rtpbin"))
            .unwrap();
        let watch = {
            let of = of.clone();
            move |pad: &gst::Pad| {
                if !pad.name().starts_with("recv_rtcp_sink") {
                    return;
                }
                let of = of.clone();
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                    if let Some(buffer) = info.buffer() {
                        let packet = buffer.map_readable().unwrap();
                        of.lock().unwrap().reports.extend(report(&packet));
                    }
                    gst::PadProbeReturn::Ok
                });
            }
        };
        rtpbin.pads().iter().for_each(&watch);
        rtpbin.connect_pad_added(move |_, pad| watch(pad));
    });
}
