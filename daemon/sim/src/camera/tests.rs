//! Simulated cameras against a plain GStreamer client over real sockets.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use synoptic_base::{Clock, Plane, Size, Span, Utc};
use synoptic_media::clocks::SystemClock;

use super::*;
use crate::barcode::{self, Code};

/// Far longer than anything here takes, for a machine that is busy.
const DEADLINE: Span = Span::from_secs(60);
const SIZE: Size = Size::new(640, 360);

fn scene() -> Arc<Scene> {
    Arc::new(Scene::new(1, SIZE, 2).unwrap())
}

fn options() -> CameraOptions {
    CameraOptions {
        report_interval: Span::from_millis(500),
        ..CameraOptions::new(
            "test",
            Content::Scene {
                scene: scene(),
                view: 1,
            },
        )
    }
}

fn start(options: &CameraOptions) -> Camera {
    Camera::start(options, SystemClock::shared()).unwrap()
}

/// A sender report as it came.
#[derive(Clone, Copy, Debug)]
struct Report {
    wall: Utc,
    rtp: u32,
    /// The box's clock at its arrival.
    came: Utc,
}

impl Report {
    fn wall_of(&self, rtp: u32) -> Utc {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp) as i32);
        self.wall + Span::from_nanos(ticks * 1_000_000_000 / 90_000)
    }
}

#[derive(Default)]
struct Observed {
    reports: Vec<Report>,
    /// PTS and RTP time of each first packet of a picture.
    packets: Vec<(gst::ClockTime, u32)>,
}

struct Picture {
    size: Size,
    code: Option<Code>,
    rtp: u32,
}

struct Client {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    observed: Arc<Mutex<Observed>>,
}

impl Client {
    fn connect(url: &str, protocol: &str, login: &str) -> Client {
        let pipeline = gst::parse::launch(&format!(
            "rtspsrc name=src location={url} protocols={protocol} latency=0 {login} ! rtph264depay name=depay \
             ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=I420 \
             ! appsink name=sink sync=false max-buffers=200"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let observed = Arc::new(Mutex::new(Observed::default()));
        let seen = observed.clone();
        let depay = pipeline.by_name("depay").unwrap().static_pad("sink").unwrap();
        depay.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, info| {
                let first = match (info.buffer(), info.buffer_list()) {
                    (Some(buffer), _) => Some(buffer.clone()),
                    (_, Some(list)) => list.get_owned(0),
                    _ => None,
                };
                if let Some((pts, bytes)) =
                    first.and_then(|b| Some((b.pts()?, b.map_readable().ok()?.to_vec())))
                {
                    let rtp = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
                    seen.lock().unwrap().packets.push((pts, rtp));
                }
                gst::PadProbeReturn::Ok
            },
        );
        let seen = observed.clone();
        pipeline
            .by_name("src")
            .unwrap()
            .connect("new-manager", false, move |values| {
                let rtpbin = values[1].get::<gst::Element>().unwrap();
                let seen = seen.clone();
                rtpbin.connect_pad_added(move |_, pad| {
                    if pad.name().starts_with("recv_rtcp_sink") {
                        let seen = seen.clone();
                        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                            let packet = info.buffer().unwrap().map_readable().unwrap();
                            if packet[1] == 200 {
                                let report = Report {
                                    wall: Utc::from_ntp(u64::from_be_bytes(
                                        packet[8..16].try_into().unwrap(),
                                    )),
                                    rtp: u32::from_be_bytes(packet[16..20].try_into().unwrap()),
                                    came: SystemClock.sample().realtime,
                                };
                                seen.lock().unwrap().reports.push(report);
                            }
                            gst::PadProbeReturn::Ok
                        });
                    }
                });
                None
            });
        let sink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Client {
            pipeline,
            sink,
            observed,
        }
    }

    fn watch(camera: &Camera) -> Client {
        Client::connect(&camera.url(), "tcp", "")
    }

    /// The next picture, or why none comes any more.
    fn picture(&self) -> Result<Picture, String> {
        let deadline = SystemClock.now() + DEADLINE;
        let bus = self.pipeline.bus().unwrap();
        while SystemClock.now() < deadline {
            if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
                return Ok(self.read(&sample));
            }
            if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]) {
                return Err(match message.view() {
                    gst::MessageView::Error(e) => format!("{} {:?}", e.error(), e.debug()),
                    _ => "end of stream".to_owned(),
                });
            }
        }
        Err("nothing came".to_owned())
    }

    fn read(&self, sample: &gst::Sample) -> Picture {
        let caps = sample.caps().unwrap().structure(0).unwrap();
        let field = |name| caps.get::<i32>(name).unwrap() as u32;
        let size = Size::new(field("width"), field("height"));
        let buffer = sample.buffer().unwrap();
        let data = buffer.map_readable().unwrap();
        let stride = size.width.next_multiple_of(4) as usize;
        let code = barcode::read(Plane { data: &data, stride }, size);
        let pts = buffer.pts().unwrap();
        let observed = self.observed.lock().unwrap();
        let packet = observed
            .packets
            .iter()
            .find(|(t, _)| *t == pts)
            .expect("a packet of that time");
        Picture {
            size,
            code,
            rtp: packet.1,
        }
    }

    fn reports(&self) -> Vec<Report> {
        self.observed.lock().unwrap().reports.clone()
    }

    /// Takes pictures until `done`.
    fn pictures_until(&self, mut done: impl FnMut(&Client, &Picture) -> bool) -> Vec<Picture> {
        let deadline = SystemClock.now() + DEADLINE;
        let mut pictures = Vec::new();
        loop {
            let picture = self.picture().unwrap();
            let end = done(self, &picture);
            pictures.push(picture);
            if end {
                return pictures;
            }
            assert!(SystemClock.now() < deadline, "waited in vain");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Claimed minus true capture time of every picture, by the last of the client's reports.
fn errors(pictures: &[Picture], report: Report, offset: Span) -> Vec<Span> {
    pictures
        .iter()
        .map(|p| report.wall_of(p.rtp) - offset - p.code.expect("a readable barcode").utc)
        .collect()
}

#[test]
fn stamps_by_the_reports_are_true_but_for_the_clock_offset() {
    for protocol in ["tcp", "udp"] {
        let offset = Span::from_millis(2_000);
        let camera = start(&CameraOptions {
            clock_offset: offset,
            media_drift_ppm: -30.0,
            ..options()
        });
        let client = Client::connect(&camera.url(), protocol, "");
        let pictures = client.pictures_until(|c, _| c.reports().len() >= 2);
        let report = client.reports()[1];
        let off = report.wall - report.came;
        assert!(
            off <= offset && off > offset - Span::from_millis(500),
            "{protocol}: {off}"
        );
        for error in errors(&pictures, report, offset) {
            assert!(error.abs() < Span::from_millis(2), "{protocol}: {error}");
        }
        assert!(pictures.iter().all(|p| p.code.unwrap().camera == 1));
        assert!(camera.stats().sender_reports >= 2);
    }
}

#[test]
fn reports_of_send_time_make_stamps_late_by_the_delay() {
    let delay = Span::from_millis(60);
    let camera = start(&CameraOptions {
        report_mode: ReportMode::Send,
        delay,
        ..options()
    });
    let client = Client::watch(&camera);
    let pictures = client.pictures_until(|c, _| !c.reports().is_empty());
    for error in errors(&pictures, client.reports()[0], Span::ZERO) {
        assert!(error >= delay && error < delay + Span::from_secs(1), "{error}");
    }
}

#[test]
fn a_step_of_the_wall_clock_shows_in_the_next_report_and_drift_goes_on() {
    let drift = 50_000.0;
    let camera = start(&CameraOptions {
        clock_drift_ppm: drift,
        ..options()
    });
    let client = Client::watch(&camera);
    client.pictures_until(|c, _| c.reports().len() >= 2);
    let step = Span::from_secs(-3_000);
    camera.step_clock(step);
    let known = client.reports().len();
    // One report may have been on its way.
    client.pictures_until(|c, _| c.reports().len() >= known + 3);
    let reports = client.reports();
    let media = |a: Report, b: Report| {
        Span::from_nanos(i64::from(b.rtp.wrapping_sub(a.rtp)) * 1_000_000_000 / 90_000)
    };
    let gained = |a: Report, b: Report| (b.wall - a.wall) - media(a, b);
    let expect = |a, b| Span::from_secs_f64(media(a, b).as_secs_f64() * drift * 1e-6);
    let (a, b) = (reports[0], reports[1]);
    assert!((gained(a, b) - expect(a, b)).abs() < Span::from_millis(2));
    let last = *reports.last().unwrap();
    assert!((gained(a, last) - expect(a, last) - step).abs() < Span::from_millis(2));
}

#[test]
fn a_killed_camera_refuses_and_a_revived_one_serves_on_the_same_port() {
    let camera = start(&options());
    let client = Client::watch(&camera);
    client.picture().unwrap();
    camera.kill();
    assert!(!camera.alive());
    assert_eq!(camera.stats().clients, 0);
    while client.picture().is_ok() {}
    drop(client);
    let refused = std::net::TcpStream::connect(("127.0.0.1", camera.port())).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let url = camera.url();
    camera.revive().unwrap();
    assert_eq!(camera.url(), url);
    let again = Client::watch(&camera);
    assert!(again.picture().unwrap().code.is_some());
}

#[test]
fn two_clients_share_one_encoder_and_see_the_same_pictures() {
    let camera = start(&options());
    let (a, b) = (Client::watch(&camera), Client::watch(&camera));
    let codes: Vec<_> = a
        .pictures_until(|_, p| p.code.is_some())
        .iter()
        .map(|p| p.code)
        .collect();
    let first = codes.last().copied().flatten().unwrap();
    let later = b.pictures_until(|_, p| p.code.is_some_and(|c| c.utc > first.utc));
    let target = later.last().unwrap().code;
    a.pictures_until(|_, p| p.code == target);
    assert_eq!(camera.stats().sessions, 1);
}

#[test]
fn freezing_stops_pictures_and_size_changes_in_the_stream() {
    let camera = start(&options());
    let client = Client::watch(&camera);
    client.picture().unwrap();
    let size = Size::new(800, 450);
    camera.set_size(size).unwrap();
    let pictures = client.pictures_until(|_, p| p.size == size);
    assert!(pictures.last().unwrap().code.is_some());
    camera.freeze(true);
    // What was on its way comes; then nothing does, on an open connection.
    while client
        .sink
        .try_pull_sample(gst::ClockTime::from_mseconds(700))
        .is_some()
    {}
    assert_eq!(camera.stats().clients, 1);
    camera.freeze(false);
    client.picture().unwrap();
    assert!(camera.set_size(Size::new(641, 360)).is_err());
}

#[test]
fn a_password_is_asked_for_by_digest() {
    let login = ("viewer".to_owned(), "s3cret".to_owned());
    let camera = start(&CameraOptions {
        login: Some(login),
        ..options()
    });
    let wrong = Client::connect(&camera.url(), "tcp", "user-id=viewer user-pw=wrong");
    let why = wrong.picture().err().unwrap();
    assert!(why.contains("nauthorized"), "{why}");
    let right = Client::connect(&camera.url(), "tcp", "user-id=viewer user-pw=s3cret");
    assert!(right.picture().unwrap().code.is_some());
}

#[test]
fn a_clip_is_served_over_and_over() {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let make = gst::parse::launch(&format!(
        "videotestsrc num-buffers=15 pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! x264enc bframes=2 key-int-max=10 ! mp4mux ! filesink location={}",
        path.display()
    ))
    .unwrap();
    make.set_state(gst::State::Playing).unwrap();
    let end = make
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
    assert!(end.is_some());
    make.set_state(gst::State::Null).unwrap();

    let camera = start(&CameraOptions::new("clip", Content::Clip(path)));
    let client = Client::watch(&camera);
    let mut times = Vec::new();
    for _ in 0..50 {
        times.push(client.picture().unwrap().rtp);
    }
    assert!(
        times
            .windows(2)
            .all(|t| (0..90_000).contains(&t[1].wrapping_sub(t[0]))),
        "{times:?}"
    );
    // Three rounds of half a second.
    assert!(times[49].wrapping_sub(times[0]) > 90_000);
    assert!(camera.set_size(SIZE).is_err());
}

#[test]
fn what_is_no_video_and_no_clip_is_told_apart() {
    let camera = start(&CameraOptions::new("tone", Content::Audio));
    let client = Client::watch(&camera);
    assert!(client.picture().is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no.mp4");
    let of = |path: &std::path::Path| CameraOptions::new("no", Content::Clip(path.to_owned()));
    let missing = Camera::start(&of(&path), SystemClock::shared()).err().unwrap();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    std::fs::write(&path, "not a film").unwrap();
    let wrong = Camera::start(&of(&path), SystemClock::shared()).err().unwrap();
    assert!(wrong.to_string().contains("H.264"), "{wrong}");
}

#[test]
fn options_out_of_limits_and_a_taken_port_are_refused() {
    let refuse = |options: CameraOptions| Camera::start(&options, SystemClock::shared()).err().unwrap();
    assert!(
        refuse(CameraOptions { fps: 0, ..options() })
            .to_string()
            .contains("fps")
    );
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let why = refuse(CameraOptions { port, ..options() }).to_string();
    assert!(why.contains(&port.to_string()), "{why}");
}

#[test]
fn a_camera_may_be_used_from_any_thread() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Camera>();
}
