//! What leaves the box, read by programs of others and by a reader that knows nothing but the RFCs.

mod reader;
mod recorder;
mod served;
mod sound;

use std::process::Command;
use std::sync::Arc;

use crossbeam_channel::unbounded;
use synoptic_base::{Clock, Epoch, Rotation, Size, Span, StreamId, TimeSource, Utc};
use synoptic_media::clocks::SystemClock;
use synoptic_media::coded::{CodedEvent, CodedStream, Relay, Want};
use synoptic_media::encode::{EncodeOptions, FrameRate};
use synoptic_media::output::{Login, Push, PushError, PushOptions, Reading, RtspServer, Sent};
use synoptic_media::{Camera, CameraContext, CameraOptions, Epochs, FrameQueue, RtspTransport, Secret};

use crate::barcode;
use crate::camera;
use crate::packets_tests::{error_of, id, rtsp, three, true_map};
use crate::ways_in_tests::programs::{Program, free_port, lacks, lacks_rtmp_server};
use crate::ways_in_tests::rig;
use reader::Reader;
use recorder::Recorder;

/// Far longer than anything here takes, for a machine that is busy.
const DEADLINE: Span = Span::from_secs(60);
const LISTEN: &str = "127.0.0.1:0";

struct First;
impl Epochs for First {
    fn next_epoch(&self, _: StreamId) -> Result<Epoch, String> {
        Ok(Epoch(1))
    }
}

/// A simulated camera, taken in by the box's side, with its stream in a relay.
struct Box {
    clock: Arc<dyn Clock>,
    relay: Arc<Relay>,
    sim: camera::Camera,
    _camera: Camera,
    _notes: crossbeam_channel::Receiver<synoptic_media::CameraNote>,
}

impl Box {
    fn start(options: &camera::CameraOptions) -> Box {
        synoptic_media::init().unwrap();
        let clock = SystemClock::shared();
        let relay = Relay::new(clock.clone());
        relay.set_clock_map(true_map(&*clock));
        let sim = camera::Camera::start(options, clock.clone()).unwrap();
        let (sender, notes) = unbounded();
        let context = CameraContext {
            clock: clock.clone(),
            epochs: Arc::new(First),
            frames: FrameQueue::new(4),
            notes: sender,
        };
        let options = CameraOptions {
            id: id(0),
            source: rtsp(&sim.url()),
            rotation: Rotation::None,
            stall_after: Span::from_secs(10),
            capture_bias: Span::ZERO,
            capture_bias_error: Span::from_millis(12),
        };
        let this = Box {
            _camera: Camera::start_relayed(options, context, relay.stream(id(0))).unwrap(),
            clock,
            relay,
            sim,
            _notes: notes,
        };
        // Until the box knows by sender reports when the light fell: before that its times move.
        let (mut settled, mut known) = (this.stream().subscribe(Want::Playable), 0);
        this.until("pictures timed by sender reports", || {
            while let Some(Ok(event)) = settled.next_timeout(Span::ZERO) {
                if let CodedEvent::Frame(frame) = event {
                    known += usize::from(frame.captured.source == TimeSource::SenderReport);
                }
            }
            // Two GOPs: no reader is given one from before.
            known >= 30
        });
        this
    }

    fn stream(&self) -> Arc<CodedStream> {
        self.relay.stream(id(0))
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let give_up = self.clock.now() + DEADLINE;
        let (_never, pause) = crossbeam_channel::bounded::<()>(0);
        while !done() {
            assert!(self.clock.now() < give_up, "{what}: not within {DEADLINE}");
            let waited = pause.recv_timeout(Span::from_millis(20).to_std());
            assert!(waited.is_err());
        }
    }

    fn serve(&self, login: Option<&Login>) -> RtspServer {
        let server = RtspServer::start(LISTEN.parse().unwrap(), login, None).unwrap();
        let relay = self.relay.clone();
        let reading = Arc::new(move || Reading::plain(relay.stream(id(0))));
        server.mount("yard/cam", reading.clone()).unwrap();
        assert!(
            server.mount("yard/cam", reading).is_err(),
            "a path is served twice"
        );
        server
    }
}

fn url(server: &RtspServer, login: &str) -> String {
    format!("rtsp://{login}{}/yard/cam", server.address())
}

/// Runs a program to its end: whether it succeeded, and what it wrote.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("timeout");
    let done = command.arg("50").arg(program).args(arguments).output().unwrap();
    let text = [done.stdout, done.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    (done.status.success(), text.concat())
}

/// What ffprobe finds in two seconds of a stream: codec, size, packets.
fn probed(url: &str, transport: &[&str]) -> (String, Size, u32) {
    let mut arguments = vec!["-v", "error"];
    arguments.extend(transport);
    arguments.extend(["-select_streams", "v", "-count_packets", "-read_intervals", "%+2"]);
    arguments.extend([
        "-show_entries",
        "stream=codec_name,width,height,nb_read_packets",
        "-of",
        "json",
        url,
    ]);
    let (done, text) = run("ffprobe", &arguments);
    assert!(done, "{text}");
    let json = &text[text.find('{').unwrap()..=text.rfind('}').unwrap()];
    let json: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {text}"));
    let stream = &json["streams"][0];
    let number = |key: &str| stream[key].as_u64().unwrap_or_else(|| panic!("{key}: {text}")) as u32;
    let packets = stream["nb_read_packets"].as_str().unwrap().parse().unwrap();
    (
        stream["codec_name"].as_str().unwrap().to_owned(),
        Size::new(number("width"), number("height")),
        packets,
    )
}

#[test]
fn ffmpeg_and_gstreamer_read_what_is_served_and_without_clients_nothing_runs() {
    if lacks(&["ffprobe", "gst-launch-1.0", "timeout"]) {
        return;
    }
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    assert_eq!(this.stream().readers(), 0);
    let url = url(&server, "");
    for transport in ["tcp", "udp"] {
        let (codec, size, packets) = probed(&url, &["-rtsp_transport", transport]);
        assert_eq!(
            (codec.as_str(), size),
            ("h264", Size::new(640, 360)),
            "{transport}"
        );
        assert!(packets >= 15, "{transport}: {packets} packets");
    }
    // Two at once, of which one reads by the other protocol: one pipeline, and so one reader of the relay.
    let folder = tempfile::tempdir().unwrap();
    let of = |transport: &'static str| {
        let location = format!("location={url}");
        let file = folder.path().join(transport);
        std::thread::spawn(move || {
            let protocols = format!("protocols={transport}");
            let mut arguments = vec!["-q", "rtspsrc", &location, &protocols, "latency=0", "!"];
            arguments.extend(["rtph264depay", "!", "h264parse", "!", "avdec_h264", "!"]);
            let into = format!("location={}", file.display());
            arguments.extend(["identity", "eos-after=60", "!", "filesink", &into]);
            let (_, text) = run("gst-launch-1.0", &arguments);
            // I420. After its pictures gst-launch pauses, may find the connection closed then, and says so by its exit code.
            let pictures = std::fs::metadata(&file).map_or(0, |f| f.len()) / (640 * 360 * 3 / 2);
            (pictures, text)
        })
    };
    let both = [of("tcp"), of("udp")];
    this.until("two clients", || server.clients("yard/cam") == 2);
    assert_eq!(this.stream().readers(), 1);
    for one in both {
        let (pictures, text) = one.join().unwrap();
        assert!(pictures >= 59, "{pictures} pictures: {text}");
    }
    this.until("nothing to run without clients", || {
        server.clients("yard/cam") == 0 && this.stream().readers() == 0
    });
    let Sent {
        pictures,
        bytes,
        left_out,
        ..
    } = server.sent("yard/cam");
    assert!(
        pictures > 100 && bytes > 100_000 && left_out == 0,
        "{pictures} {bytes} {left_out}"
    );
}

#[test]
fn sender_reports_and_rtp_headers_tell_the_capture_time_of_the_very_picture() {
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    let mut reader = Reader::play(server.address(), "yard/cam");
    let heard = reader.hear(2, 40);
    let has_extension = gst::ElementFactory::find("rtphdrextntp64").is_some();
    assert_eq!(
        reader.sdp.contains("urn:ietf:params:rtp-hdrext:ntp-64"),
        has_extension,
        "{}",
        reader.sdp
    );
    let mut worst = Span::ZERO;
    let (mut in_headers, mut with_capture_time) = (0, 0);
    for picture in &heard.pictures {
        // By either report: they mean the same clock.
        for report in &heard.reports {
            let ticks = picture.rtp.wrapping_sub(report.rtp) as i32;
            let later = Span::from_nanos(i64::from(ticks) * 1_000_000_000 / 90_000);
            let by_report = Utc::from_ntp(report.ntp) + later;
            worst = worst.max((by_report - picture.sei.utc).abs());
        }
        // abs-capture-time has id 2 and stands behind RFC 6051's.
        if let Some((0xbede, bytes)) = &picture.extension {
            // Its nine bytes are filled up to a whole number of words.
            let at = if has_extension { 12 } else { 0 };
            assert_eq!(bytes[at], 0x27, "{bytes:02x?}");
            let ntp = u64::from_be_bytes(bytes[at + 1..at + 9].try_into().unwrap());
            let off = (Utc::from_ntp(ntp) - picture.sei.utc).abs();
            assert!(off < Span::from_micros(1), "abs-capture-time: {off}");
            with_capture_time += 1;
        }
        if let Some(ntp) = picture.ntp {
            in_headers += 1;
            let off = (Utc::from_ntp(ntp) - picture.sei.utc).abs();
            assert!(off < Span::from_micros(1), "{off}");
        }
    }
    println!(
        "reports against the SEI of {} pictures: {worst} at most",
        heard.pictures.len()
    );
    // A tick is 11 µs. The relay's map was set once: its clock does not move.
    assert!(worst < Span::from_micros(100), "{worst}");
    assert!(
        // The first packet of the first picture may have gone by before the line was there.
        !has_extension || in_headers + 1 >= heard.pictures.len(),
        "{in_headers}"
    );
    assert!(
        with_capture_time + 1 >= heard.pictures.len(),
        "{with_capture_time}"
    );
    assert!(
        reader.sdp.contains("extmap:2 http://www.webrtc.org/"),
        "{}",
        reader.sdp
    );
    assert!(heard.reports.len() >= 2);
    assert!(this.sim.alive());
}

#[test]
fn another_box_that_reads_the_server_knows_when_the_light_fell() {
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    let mut second = rig(rtsp(&url(&server, "")), Span::ZERO, Span::from_millis(15));
    let source = match gst::ElementFactory::find("rtphdrextntp64") {
        Some(_) => TimeSource::PacketNtp,
        None => TimeSource::SenderReport,
    };
    // The first pictures come at once, up to a GOP old: who goes by their arrivals takes them for too new.
    let mut errors = Vec::new();
    second.until("30 pictures timed by the server", |rig, packet| {
        let Some(frame) = packet.and_then(|p| p.frames().next()) else {
            return false;
        };
        let (captured, mut code) = (frame.meta.captured, None);
        frame
            .pixels
            .with_planes(&mut |p| code = barcode::read(p.luma(), frame.meta.size))
            .unwrap();
        if captured.source == source && code.is_some() {
            let error = error_of(rig, frame);
            assert!(
                error.abs() <= captured.rel_error,
                "{error} against {}",
                captured.rel_error
            );
            errors.push(error);
        }
        errors.len() == 30
    });
    errors.sort();
    println!("a box behind the box: {} median by {}", errors[15], source.name());
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_opens() {
    if lacks(&["ffprobe", "timeout"]) {
        return;
    }
    let this = Box::start(&three()[0]);
    let login = Login {
        user: "viewer".to_owned(),
        password: Secret::new("pa55 word".to_owned()),
    };
    let server = this.serve(Some(&login));
    let (status, answer) = reader::describe(server.address(), "yard/cam");
    assert_eq!(status, 401, "{answer}");
    assert!(answer.contains("Digest") && answer.contains("Basic"), "{answer}");
    let tcp = ["-rtsp_transport", "tcp"];
    for wrong in ["", "viewer:wrong@", "other:pa55%20word@"] {
        let address = url(&server, wrong);
        let (done, text) = run("ffprobe", &["-v", "error", tcp[0], tcp[1], &address]);
        assert!(!done && text.contains("401"), "{wrong}: {text}");
    }
    assert_eq!(this.stream().readers(), 0, "who is refused costs nothing");
    let (codec, ..) = probed(&url(&server, "viewer:pa55%20word@"), &tcp);
    assert_eq!(codec, "h264");
}

#[test]
fn who_asks_for_a_stream_without_pictures_is_told_at_once_and_who_watches_hears_of_the_end() {
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    let relay = this.relay.clone();
    let of_none = Arc::new(move || Reading::plain(relay.stream(id(7))));
    server.mount("none", of_none).unwrap();
    let began = this.clock.now();
    assert_eq!(reader::describe(server.address(), "none").0, 503);
    assert_eq!(reader::describe(server.address(), "no/such").0, 404);
    assert!(this.clock.now() - began < Span::from_secs(10));
    let mut reader = Reader::play(server.address(), "yard/cam");
    reader.hear(0, 3);
    server.unmount("yard/cam");
    reader.hears_the_end();
    assert_eq!(reader::describe(server.address(), "yard/cam").0, 404);
}

#[test]
fn an_output_with_options_of_its_own_is_coded_with_them_under_the_same_keys() {
    let this = Box::start(&three()[0]);
    let stream = this.stream();
    let mut native = stream.subscribe(Want::Playable);
    let options = EncodeOptions {
        size: Some(Size::new(320, 180)),
        gop: 5,
        fps: Some(FrameRate::AtMost(8)),
        ..EncodeOptions::default()
    };
    let reading = Reading::coded(&stream, options);
    assert_eq!(reading.stream().transcoded(), Some("options"));
    let mut small = reading.stream().subscribe(Want::Playable);
    let (mut keys, mut coded) = (std::collections::BTreeSet::new(), Vec::new());
    this.until("20 pictures of each", || {
        for (subscription, is_small) in [(&mut native, false), (&mut small, true)] {
            while let Some(Ok(event)) = subscription.next_timeout(Span::ZERO) {
                match event {
                    CodedEvent::Frame(frame) if is_small => coded.push(frame),
                    CodedEvent::Frame(frame) => drop(keys.insert(frame.key)),
                    _ => {}
                }
            }
        }
        coded.len() >= 20
    });
    for frame in &coded {
        assert_eq!(frame.format.size, Size::new(320, 180));
        assert_eq!(frame.format.transcoded, Some("options"));
        assert!(keys.contains(&frame.key), "{} was never sent", frame.key);
    }
    let shown: Vec<bool> = coded.iter().map(|f| f.keyframe).collect();
    assert!(shown.chunks(5).all(|gop| gop[0]), "{shown:?}");
    // 8 of 15 pictures a second.
    let step =
        |pair: &[Arc<synoptic_media::coded::CodedFrame>]| pair[1].captured.mono - pair[0].captured.mono;
    let mean = coded.windows(2).map(step).sum::<Span>() / (coded.len() as i64 - 1);
    assert!(
        (mean - Span::from_millis(125)).abs() < Span::from_millis(15),
        "{mean}"
    );
    assert_eq!(
        stream.transcoded(),
        None,
        "the camera's own pictures are as they were"
    );
    drop((small, reading));
    assert!(!stream.wants_pixels());
}

/// Pushes what the stream has until `done`, or the connection fails.
fn push(this: &Box, push: &mut Push, mut done: impl FnMut(&Push) -> bool) -> Result<(), PushError> {
    let mut reader = this.stream().subscribe(Want::Playable);
    let give_up = this.clock.now() + DEADLINE;
    while !done(push) {
        assert!(this.clock.now() < give_up, "not within {DEADLINE}");
        match reader.next_timeout(Span::from_millis(20)) {
            Some(Ok(CodedEvent::Frame(frame))) => push.send(&frame)?,
            Some(Err(ended)) => panic!("{ended:?}"),
            _ => push.look()?,
        }
    }
    Ok(())
}

/// ffprobe on another thread, while this one pushes.
fn probe_while_pushing(
    this: &Box,
    pushed: &mut Push,
    url: String,
    transport: &'static [&'static str],
) -> (String, Size, u32) {
    let probe = std::thread::spawn(move || probed(&url, transport));
    push(this, pushed, |_| probe.is_finished()).unwrap();
    probe.join().unwrap()
}

#[test]
fn nginx_takes_an_rtmp_push_and_keeps_the_time_stamps_of_the_keys() {
    if lacks_rtmp_server() || lacks(&["ffprobe", "timeout"]) {
        return;
    }
    let this = Box::start(&three()[0]);
    let folder = tempfile::tempdir().unwrap();
    let (rtmp, http) = (free_port(), free_port());
    let nginx = Program::nginx(rtmp, http, folder.path());
    let options = PushOptions::new(&format!("rtmp://127.0.0.1:{rtmp}/live/secretkey")).unwrap();
    let mut pushed = Push::start(&options, &this.stream()).unwrap();
    push(&this, &mut pushed, Push::runs).unwrap();
    let (codec, size, packets) = probe_while_pushing(&this, &mut pushed, options.url.clone(), &[]);
    assert_eq!((codec.as_str(), size), ("h264", Size::new(640, 360)));
    assert!(packets >= 15, "{packets}");
    drop(nginx);
    let error = push(&this, &mut pushed, |_| false).unwrap_err();
    assert!(!error.to_string().contains("secretkey"), "{error}");
    drop(pushed);
    // Nobody is there.
    let mut pushed = Push::start(&options, &this.stream()).unwrap();
    let error = push(&this, &mut pushed, |_| false).unwrap_err();
    assert!(matches!(error, PushError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[test]
fn an_rtsp_server_takes_a_push_and_its_sender_reports_are_capture_times() {
    if gst::init().is_err() || gst::ElementFactory::find("rtspclientsink").is_none() {
        eprintln!("SKIPPED: rtspclientsink is not here; scripts/setup.sh installs gstreamer1.0-rtsp");
        return;
    }
    let this = Box::start(&three()[0]);
    for transport in [RtspTransport::Tcp, RtspTransport::Udp] {
        let recorder = Recorder::start();
        let options = PushOptions {
            transport,
            ..PushOptions::new(&format!("rtsp://127.0.0.1:{}/take/it", recorder.port())).unwrap()
        };
        let mut pushed = Push::start(&options, &this.stream()).unwrap();
        let heard = |_: &Push| recorder.heard().0 >= 2 && recorder.heard().1 >= 40;
        push(&this, &mut pushed, heard).unwrap();
        assert!(pushed.runs());
        let worst = recorder.worst();
        println!("a push over {transport:?}: reports against the SEI {worst} at most");
        assert!(worst < Span::from_micros(100), "{worst}");
    }
    // Nobody is there, or there is no such path.
    let recorder = Recorder::start();
    for (port, path) in [
        (i32::from(free_port()), "take/it"),
        (recorder.port(), "another/secret"),
    ] {
        let options = PushOptions::new(&format!("rtsp://127.0.0.1:{port}/{path}")).unwrap();
        let mut pushed = Push::start(&options, &this.stream()).unwrap();
        let error = push(&this, &mut pushed, |_| false).unwrap_err();
        assert!(matches!(error, PushError::Broken { .. }), "{error}");
        println!("{error}");
    }
}

/// NAL units of pictures (types 1 to 5, ITU-T H.264 table 7-1) in a byte stream, without start codes and trailing zeros.
fn slices(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut starts: Vec<usize> = Vec::new();
    starts.extend((0..stream.len().saturating_sub(3)).filter(|i| stream[*i..*i + 3] == [0, 0, 1]));
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| {
        let unit = &stream[start + 3..end];
        let zeros = unit.iter().rev().take_while(|b| **b == 0).count();
        unit[..unit.len() - zeros].to_vec()
    });
    units
        .filter(|unit| unit.first().is_some_and(|b| (1..=5).contains(&(b & 0x1f))))
        .collect()
}

#[test]
fn a_push_by_rtsp_begins_with_a_whole_picture_though_the_server_is_slow_to_record() {
    if gst::init().is_err() || gst::ElementFactory::find("rtspclientsink").is_none() {
        eprintln!("SKIPPED: rtspclientsink is not here; scripts/setup.sh installs gstreamer1.0-rtsp");
        return;
    }
    let this = Box::start(&three()[0]);
    // Over TCP: a busy machine may lose packets of UDP at any time.
    let (record, records) = crossbeam_channel::bounded::<()>(0);
    let mut record = Some(record);
    let recorder = Recorder::start_when(records);
    let options = PushOptions {
        transport: RtspTransport::Tcp,
        ..PushOptions::new(&format!("rtsp://127.0.0.1:{}/take/it", recorder.port())).unwrap()
    };
    let mut reader = this.stream().subscribe(Want::Playable);
    let mut pushed = Push::start(&options, &this.stream()).unwrap();
    let (mut given, mut pictures) = (Vec::new(), 0);
    this.until("20 pictures at the server", || {
        match reader.next_timeout(Span::from_millis(20)) {
            Some(Ok(CodedEvent::Frame(frame))) => {
                given.extend(slices(&frame.annex_b()));
                pictures += 1;
                pushed.send(&frame).unwrap();
            }
            _ => pushed.look().unwrap(),
        }
        // The second GOP has begun, and its first pictures are no IDR pictures.
        if pictures > 20 {
            record = None;
        }
        recorder.slices().len() >= 20
    });
    let taken = recorder.slices();
    assert_eq!(taken[0][0] & 0x1f, 5, "it begins in the middle of a GOP");
    let first = given.iter().position(|slice| *slice == taken[0]);
    let first = first.unwrap_or_else(|| panic!("the first picture is not whole"));
    for (i, slice) in taken.iter().enumerate() {
        assert!(given.get(first + i) == Some(slice), "slice {i} is missing");
    }
    let (sent, _) = pushed.sent();
    println!("{pictures} pictures, {sent} sent, the first one after {first} slices");
    assert!(record.is_none() && sent < pictures, "the server was not slow");
}

#[test]
fn clients_that_take_nothing_hold_nobody_up() {
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    let mut subscription = this.stream().subscribe(Want::Playable);
    let relayed = std::thread::spawn(move || {
        let mut keys = Vec::new();
        while stopped.try_recv() != Err(crossbeam_channel::TryRecvError::Disconnected) {
            if let Some(Ok(CodedEvent::Frame(frame))) = subscription.next_timeout(Span::from_millis(50)) {
                keys.push(frame.key);
            }
        }
        keys
    });
    // They ask for the stream and read no byte of it.
    let stalled: Vec<Reader> = (0..8)
        .map(|_| Reader::play(server.address(), "yard/cam"))
        .collect();
    let mut reader = Reader::play(server.address(), "yard/cam");
    this.until("nine clients", || server.clients("yard/cam") == 9);
    assert_eq!(
        this.stream().readers(),
        2,
        "one pipeline for all, and the thread here"
    );
    reader.hear(0, 30);
    let heard = reader.hear(1, 120);
    drop(stop);
    let relayed = relayed.join().unwrap();
    // Every picture that the relay had between the first and the last one has come.
    let heard: Vec<_> = heard.pictures.iter().map(|p| p.sei.key).collect();
    let from = relayed.iter().position(|key| *key == heard[0]).unwrap();
    let to = (from + heard.len()).min(relayed.len());
    assert_eq!(heard[..to - from], relayed[from..to]);
    assert!(to - from >= 60, "{}", to - from);
    drop(stalled);
    this.until("the eight to be forgotten", || server.clients("yard/cam") == 1);
}
