//! A camera that serves its pictures as FLV over HTTP, to one client at a time, with the time stamps and the UTC that a
//! test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use gst::prelude::*;
use synoptic_base::{Clock, Mono, Size, Span, Utc};
use synoptic_media::clocks::SystemClock;

use crate::scene::Scene;

const FPS: i64 = 15;

/// How a sender tells its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// Not at all.
    Nothing,
    /// Date and time of day of a zone that it does not name, in onFI, twice a second.
    OnFi {
        /// Its zone, seconds east of UTC.
        zone_s: i64,
    },
    /// UTC of the time stamp zero in onMetaData, once.
    OnMetaData,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) tells: Tells,
    /// Time stamp of the first picture, ms.
    pub(super) first_ms: i64,
    /// The sender counts with 24 bits.
    pub(super) short: bool,
}

pub(super) struct FlvServer {
    port: u16,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FlvServer {
    pub(super) fn start(options: Options) -> FlvServer {
        gst::init().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = bounded(0);
        let thread = std::thread::spawn(move || {
            let clock = SystemClock::shared();
            // Time goes on where a client went away: the stream is one and the same.
            let origin = clock.now();
            for client in listener.incoming() {
                if matches!(
                    stopped.try_recv(),
                    Err(crossbeam_channel::TryRecvError::Disconnected)
                ) {
                    return;
                }
                let client = client.unwrap();
                serve(&client, &*clock, origin, options, &stopped);
            }
        });
        FlvServer {
            port,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/live/cam.flv", self.port)
    }
}

impl Drop for FlvServer {
    fn drop(&mut self) {
        self.stop = None;
        // Wakes the thread where it waits for a client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

/// Serves a client until it, or the test, goes.
fn serve(client: &TcpStream, clock: &dyn Clock, origin: Mono, options: Options, stopped: &Receiver<()>) {
    let mut request = BufReader::new(client);
    let mut line = String::new();
    while request.read_line(&mut line).is_ok_and(|n| n > 2) {
        line.clear();
    }
    let size = Size::new(640, 360);
    let scene = Arc::new(Scene::new(7, size, 1).unwrap());
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time is-live=true caps=video/x-raw,format=I420,width={},height={},framerate={FPS}/1 \
         ! x264enc speed-preset=ultrafast tune=zerolatency key-int-max={FPS} ! h264parse \
         ! video/x-h264,stream-format=avc,alignment=au ! appsink name=out sync=false",
        size.width, size.height
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let part = |name| pipeline.by_name(name).unwrap();
    let source = part("in").downcast::<gst_app::AppSrc>().unwrap();
    let sink = part("out").downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut out =
        b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\nFLV\x01\x01\0\0\0\x09"
            .to_vec();
    let mut configured = false;
    let began = clock.now();
    for i in 0.. {
        let due = began + Span::from_nanos(1_000_000_000 * i / FPS);
        let wait = (due - clock.now()).max(Span::ZERO);
        if !matches!(
            stopped.recv_timeout(wait.to_std()),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        ) {
            break;
        }
        let at = clock.sample();
        let picture = scene.render(0, at.realtime, "flv");
        let mut buffer = gst::Buffer::from_mut_slice(picture.into_bytes());
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_nseconds((1_000_000_000 * i / FPS) as u64));
        source.push_buffer(buffer).unwrap();
        let sample = sink.pull_sample().unwrap();
        let stream_ms = options.first_ms + (at.mono - origin).as_nanos() / 1_000_000;
        let stamp = if options.short {
            stream_ms % (1 << 24)
        } else {
            stream_ms
        } as u32;
        if !configured {
            configured = true;
            let caps = sample.caps().unwrap();
            let record = caps
                .structure(0)
                .unwrap()
                .get::<gst::Buffer>("codec_data")
                .unwrap();
            if options.tells == Tells::OnMetaData {
                let zero = at.realtime - Span::from_millis(stream_ms);
                out.extend(script("onMetaData", &[("utc", text(&zero.to_rfc3339()))], 0));
            }
            out.extend(tag(
                9,
                stamp,
                &[b"\x17\x00\0\0\0", &*record.map_readable().unwrap()].concat(),
            ));
        }
        if let Tells::OnFi { zone_s } = options.tells
            && i % 8 == 0
        {
            let local: Utc = at.realtime + Span::from_secs(zone_s);
            let local = local.to_rfc3339();
            let (date, time) = local.split_once('T').unwrap();
            let day: Vec<&str> = date.split('-').rev().collect();
            let fields = [("sd", text(&day.join("-"))), ("st", text(&time[..12]))];
            out.extend(script("onFI", &fields, stamp));
        }
        let coded = sample.buffer().unwrap();
        let key = !coded.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let head: &[u8] = if key { b"\x17\x01\0\0\0" } else { b"\x27\x01\0\0\0" };
        out.extend(tag(9, stamp, &[head, &*coded.map_readable().unwrap()].concat()));
        let mut to = client;
        if to.write_all(&out).is_err() {
            break; // the client went
        }
        out.clear();
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

fn tag(kind: u8, at_ms: u32, body: &[u8]) -> Vec<u8> {
    let mut v = vec![0, 0, 0, 0, kind];
    v.extend(&(body.len() as u32).to_be_bytes()[1..]);
    let [t3, t0, t1, t2] = at_ms.to_be_bytes();
    v.extend([t0, t1, t2, t3, 0, 0, 0]);
    v.extend(body);
    v
}

fn text(s: &str) -> Vec<u8> {
    let mut v = vec![2];
    v.extend((s.len() as u16).to_be_bytes());
    v.extend(s.as_bytes());
    v
}

fn script(name: &str, fields: &[(&str, Vec<u8>)], at_ms: u32) -> Vec<u8> {
    let mut body = text(name);
    body.extend([8, 0, 0, 0, fields.len() as u8]);
    for (key, value) in fields {
        body.extend(&text(key)[1..]);
        body.extend(value);
    }
    body.extend([0, 0, 9]);
    tag(18, at_ms, &body)
}
