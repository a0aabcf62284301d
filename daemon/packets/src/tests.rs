//! A group's packets over its real socket, read by a client written from docs/reference/packets.md.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use synoptic_base::{
    BootId, BrokenReason, Captured, Clock, ClockMap, ClockSample, Epoch, Frame, FrameKey, FrameKind,
    FrameMeta, FramePacket, MediaTime, Mono, MotionVector, PacketId, Seq, Size, Slot, Span, StreamId,
    TimeSource, Utc,
};
use synoptic_vision::PictureBuf;
use synoptic_vision::color::Matrix;
use tempfile::TempDir;

use crate::layout::PixelLayout;
use crate::wire::{MESSAGE, Message, Name, VERSION};
use crate::{CameraLine, MotionAnswer, MotionSource, Share, ShareError, ShareOptions};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
const SIZE: Size = Size::new(32, 16);

/// Ticks when it is asked.
#[derive(Default)]
struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> Mono {
        Mono::from_nanos(self.0.fetch_add(1, Ordering::Relaxed))
    }
    fn sample(&self) -> ClockSample {
        let now = self.now();
        ClockSample {
            mono: now,
            raw: now,
            realtime: Utc::from_nanos(now.as_nanos()),
            width: Span::ZERO,
        }
    }
}

/// One vector for every frame of `a`.
struct OneVector;

impl MotionSource for OneVector {
    fn vectors(&self, key: &FrameKey) -> MotionAnswer {
        let vector = MotionVector {
            source: -1,
            motion_scale: 4,
            ..MotionVector::default()
        };
        match key.stream.as_str() {
            "a" => MotionAnswer::Known(Arc::new([vector])),
            _ => MotionAnswer::Off,
        }
    }
}

fn id(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn packet(number: u64) -> FramePacket<crate::Pixels> {
    let rgb = [200, 100, 50].repeat((SIZE.width * SIZE.height) as usize);
    let frame = Frame {
        meta: FrameMeta {
            key: FrameKey {
                stream: id("a"),
                epoch: Epoch(3),
                media_us: MediaTime::from_micros(77),
            },
            seq: Seq(number),
            arrival: Mono::from_nanos(9),
            captured: Captured {
                mono: Mono::from_nanos(1_000),
                rel_error: Span::from_millis(2),
                source: TimeSource::SenderReport,
            },
            size: SIZE,
            kind: FrameKind::B,
        },
        pixels: Arc::new(PictureBuf::from_rgb8(SIZE, &rgb, Matrix::Bt601).unwrap()) as crate::Pixels,
    };
    FramePacket {
        id: PacketId(number),
        instant: Mono::from_nanos(1_000),
        slots: vec![
            (id("a"), Slot::Okay(frame)),
            (id("b"), Slot::Broken(BrokenReason::Stalled)),
        ],
        spread: Span::ZERO,
    }
}

fn share(dir: &Path, max_ring: Option<usize>) -> Share {
    let options = ShareOptions {
        dir: dir.join("sockets"),
        pixels: PixelLayout::Bgr,
        max_bytes: 8 << 20,
        max_ring,
    };
    let map = || ClockMap {
        boot_id: BootId(uuid::Uuid::nil()),
        version: 1,
        utc_minus_mono: Span::from_secs(1_000),
        error: Some(Span::from_millis(1)),
    };
    Share::open(
        id("hall"),
        options,
        Arc::new(Ticks::default()),
        Box::new(map),
        Arc::new(OneVector),
    )
    .unwrap()
}

struct Reader {
    stream: UnixStream,
    blocks: std::collections::BTreeMap<u32, File>,
}

impl Reader {
    fn connect(dir: &Path, ring: u64) -> Reader {
        let mut reader = Reader::open(dir);
        reader.send(Name::Hello, VERSION, [ring, 0, 0]);
        let (hello, text, _) = reader.receive();
        assert_eq!((hello.name, hello.small), (Name::Hello, VERSION), "{text}");
        assert!(text.contains("\"hall\"") && text.contains("\"bgr\""), "{text}");
        reader
    }

    fn open(dir: &Path) -> Reader {
        let stream = UnixStream::connect(dir.join("sockets/hall.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Reader {
            stream,
            blocks: Default::default(),
        }
    }

    fn send(&mut self, name: Name, small: u32, numbers: [u64; 3]) {
        let message = Message { name, small, numbers };
        self.stream.write_all(&message.to_bytes()).unwrap();
    }

    fn receive(&mut self) -> (Message, String, Option<File>) {
        let mut bytes = [0; MESSAGE];
        let mut control = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
        let got = recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut control), flags).unwrap();
        let mut file = None;
        for message in got.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(descriptors) = message {
                #[allow(unsafe_code, reason = "a descriptor out of a control message")]
                // SAFETY: the kernel made this descriptor for us alone.
                let own = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
                file = Some(File::from(own));
            }
        }
        assert_eq!(got.bytes, MESSAGE);
        let message = Message::from_bytes(&bytes).unwrap();
        let mut text = vec![
            0;
            if message.name == Name::Packet {
                0
            } else {
                message.numbers[2] as usize
            }
        ];
        self.stream.read_exact(&mut text).unwrap();
        (message, String::from_utf8(text).unwrap(), file)
    }

    /// The next packet: its bytes, its block, packets lost so far.
    fn next(&mut self, back: &[u32]) -> (Vec<u8>, u32, u64) {
        let mut numbers = [0; 3];
        for (number, block) in numbers.iter_mut().zip(back) {
            *number = u64::from(*block);
        }
        self.send(Name::Next, back.len() as u32, numbers);
        loop {
            let (message, text, file) = self.receive();
            match message.name {
                Name::Idle => {}
                Name::Packet => {
                    assert_eq!(file.is_some(), message.numbers[2] == 1);
                    self.blocks.extend(file.map(|f| (message.small, f)));
                    let mut bytes = vec![0; message.numbers[0] as usize];
                    self.blocks[&message.small].read_exact_at(&mut bytes, 0).unwrap();
                    return (bytes, message.small, message.numbers[1]);
                }
                other => panic!("{other:?}: {text}"),
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn a_reader_gets_the_packet_as_the_reference_says() {
    let dir = TempDir::new().unwrap();
    let share = share(dir.path(), Some(4));
    let mut reader = Reader::connect(dir.path(), 4);
    share.offer(&packet(41));
    let (bytes, ..) = reader.next(&[]);
    assert_eq!(bytes[..8], *b"SYNOPACK");
    assert_eq!(number(&bytes, 24), 41);
    assert_eq!(number(&bytes, 32), 1_000_000_001_000);
    let (a, b) = (&bytes[128..384], &bytes[384..640]);
    assert_eq!((a[0], &a[32..38]), (b'a', &[0, 0, b'B', 1, 1, 1][..]));
    assert_eq!((b[0], &b[32..38]), (b'b', &[3, 3, 0, 0, 0, 0][..]));
    assert_eq!(number(a, 40), 1_000_000_001_000);
    assert_eq!(number(a, 48), 3_000_000);
    assert_eq!(number(a, 72), 77);
    assert_eq!(&a[136..149], b"sender_report");
    let (pixels, length) = (number(a, 104) as usize, number(a, 112) as usize);
    assert_eq!(length, 32 * 16 * 3);
    for bgr in bytes[pixels..pixels + length].chunks_exact(3) {
        for (is, was) in bgr.iter().zip([50_u8, 100, 200]) {
            assert!(is.abs_diff(was) <= 3, "{bgr:?}");
        }
    }
    let (vectors, count) = (number(a, 120) as usize, number(a, 128));
    assert_eq!(count, 1);
    assert_eq!(bytes[vectors..vectors + 4], (-1_i32).to_le_bytes());
    assert_eq!(bytes[vectors + 36..vectors + 40], 4_i32.to_le_bytes());
}

#[test]
fn a_slow_reader_loses_the_oldest_and_the_other_gets_all() {
    let dir = TempDir::new().unwrap();
    let share = share(dir.path(), Some(3));
    let mut slow = Reader::connect(dir.path(), 1_000);
    let mut fast = Reader::connect(dir.path(), 3);
    let mut back = Vec::new();
    for n in 0..20 {
        share.offer(&packet(n));
        let (bytes, block, lost) = fast.next(&back);
        assert_eq!((number(&bytes, 24), lost), (n, 0));
        back = vec![block];
    }
    let (bytes, first, lost) = slow.next(&[]);
    assert_eq!((number(&bytes, 24), lost), (17, 17));
    // What it holds is not written over.
    for n in 20..30 {
        share.offer(&packet(n));
        back = vec![fast.next(&back).1];
    }
    let mut held = vec![0; bytes.len()];
    slow.blocks[&first].read_exact_at(&mut held, 0).unwrap();
    assert_eq!(held, bytes);
    assert_eq!(number(&slow.next(&[first]).0, 24), 27);
}

#[test]
fn without_readers_nothing_is_done_and_they_hear_of_cameras() {
    let dir = TempDir::new().unwrap();
    let share = share(dir.path(), Some(3));
    share.offer(&packet(1));
    let line = CameraLine {
        state: "offline",
        reason: Some("unplugged".to_owned()),
    };
    share.camera(id("b"), line);
    let mut reader = Reader::connect(dir.path(), 3);
    // Asks before there is a packet, and hears that the daemon lives.
    reader.send(Name::Next, 0, [0; 3]);
    let (idle, text, _) = reader.receive();
    assert_eq!(idle.name, Name::Idle);
    assert!(text.contains("unplugged"), "{text}");
    share.offer(&packet(2));
    let message = loop {
        let (message, ..) = reader.receive();
        if message.name != Name::Idle {
            break message;
        }
    };
    assert_eq!(message.name, Name::Packet);
    assert_eq!((share.readers(), share.lost()), (1, 0));
    drop(share);
    let mut rest = Vec::new();
    reader.stream.read_to_end(&mut rest).unwrap();
    assert!(!dir.path().join("sockets/hall.sock").exists());
}

#[test]
fn readers_that_do_wrong_are_told_and_dropped() {
    let dir = TempDir::new().unwrap();
    let share = share(dir.path(), Some(3));
    let refused = |send: &dyn Fn(&mut Reader), greeted: bool, word: &str| {
        let mut reader = if greeted {
            Reader::connect(dir.path(), 1)
        } else {
            Reader::open(dir.path())
        };
        send(&mut reader);
        let (message, text, _) = reader.receive();
        assert_eq!(message.name, Name::Fail);
        assert!(text.contains(word), "{text}");
        assert_eq!(reader.stream.read(&mut [0]).unwrap(), 0);
    };
    refused(&|r| r.send(Name::Hello, 99, [1, 0, 0]), false, "version 99");
    refused(&|r| r.stream.write_all(&[b'G'; 32]).unwrap(), false, "HELO");
    refused(&|r| r.send(Name::Next, 1, [5, 0, 0]), true, "does not hold");
    refused(&|r| r.send(Name::Next, 4, [0; 3]), true, "no such message");
    let other = Share::open(
        id("hall"),
        ShareOptions {
            dir: dir.path().join("sockets"),
            pixels: PixelLayout::Nv12,
            max_bytes: 1 << 20,
            max_ring: Some(1),
        },
        Arc::new(Ticks::default()),
        Box::new(|| unreachable!()),
        Arc::new(OneVector),
    );
    assert!(matches!(other, Err(ShareError::Taken { .. })));
    drop(share);
}
