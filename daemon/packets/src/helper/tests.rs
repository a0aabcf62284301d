//! The supervisor with fake helpers, and the real one where it was built.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use synoptic_base::{Epoch, FrameKey, MediaTime, Rotation, Size, StreamId};
use tempfile::TempDir;

use super::*;
use crate::motion::{MotionAnswer, MotionSource};

/// Echoes for every unit a frame with one vector: source -1, scale 4, the rest 0. Dies with the unit of 5 bytes.
const FAKE: &str = r#"#!/usr/bin/env python3
import struct, sys
while True:
    head = sys.stdin.buffer.read(12)
    if len(head) < 12: break
    length, time = struct.unpack("<Iq", head)
    sys.stdin.buffer.read(length)
    if length == 5: sys.exit(7)
    sys.stdout.buffer.write(struct.pack("<qBI10i", time, 80, 1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 4))
    sys.stdout.buffer.flush()
"#;

fn program(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("helper");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn unit(epoch: u32, media_us: i64, keyframe: bool, bytes: usize) -> CodedUnit {
    CodedUnit {
        key: FrameKey {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(epoch),
            media_us: MediaTime::from_micros(media_us),
        },
        keyframe,
        annexb: vec![0; bytes].into(),
        size: Size::new(64, 48),
    }
}

/// Asks for a frame's vectors again and again with new units, for a minute at most.
fn until_known(helper: &MotionHelper, book: &MotionBook, epoch: u32, from: i64) -> i64 {
    let pause = crossbeam_channel::never::<()>();
    for n in 0..1_200 {
        let unit = unit(epoch, from + n, true, 9);
        let key = unit.key;
        helper.push(unit);
        if matches!(book.vectors(&key), MotionAnswer::Known(v) if v.len() == 1 && v[0].source == -1) {
            return n;
        }
        assert!(pause.recv_timeout(Duration::from_millis(50)).is_err());
    }
    panic!("no vectors within a minute, {} starts", helper.starts());
}

#[test]
fn a_crash_is_mended_and_epochs_stay_apart() {
    let dir = TempDir::new().unwrap();
    let book = Arc::new(MotionBook::default());
    let camera = StreamId::new("cam").unwrap();
    book.open(camera);
    let fake = program(dir.path(), FAKE);
    let helper = MotionHelper::start(camera, fake, Rotation::None, book.clone()).unwrap();
    // Before the first IDR picture nothing is decoded.
    helper.push(unit(1, 0, false, 9));
    until_known(&helper, &book, 1, 10);
    assert_eq!(helper.starts(), 1);
    until_known(&helper, &book, 2, 10);
    helper.push(unit(2, 5_000, true, 5));
    until_known(&helper, &book, 2, 10_000);
    assert_eq!(helper.starts(), 2);
    assert_eq!(helper.trouble(), None);
    drop(helper);
    book.close(&camera);
    assert_eq!(book.vectors(&unit(2, 10_000, true, 0).key), MotionAnswer::Off);
}

#[test]
fn vectors_turn_with_the_picture() {
    let dir = TempDir::new().unwrap();
    let book = Arc::new(MotionBook::default());
    let camera = StreamId::new("cam").unwrap();
    book.open(camera);
    let fake = program(dir.path(), FAKE);
    let helper = MotionHelper::start(camera, fake, Rotation::Quarter, book.clone()).unwrap();
    let last = until_known(&helper, &book, 1, 10);
    let MotionAnswer::Known(vectors) = book.vectors(&unit(1, 10 + last, true, 9).key) else {
        panic!("it was known a moment ago");
    };
    // The upper left corner of 64x48 becomes the upper right one of 48x64.
    assert_eq!((vectors[0].dst_x, vectors[0].dst_y), (48, 0));
}

#[test]
fn a_helper_that_is_not_there_or_hangs_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let book = Arc::new(MotionBook::default());
    let camera = StreamId::new("cam").unwrap();
    book.open(camera);
    let none = dir.path().join("none");
    let missing = MotionHelper::start(camera, none, Rotation::None, book.clone()).unwrap();
    missing.push(unit(1, 1, true, 9));
    assert_eq!(book.vectors(&unit(1, 1, true, 9).key), MotionAnswer::Late);
    let mut looks = 0;
    while missing.trouble().is_none() {
        let pause = crossbeam_channel::never::<()>();
        assert!(pause.recv_timeout(Duration::from_millis(50)).is_err());
        looks += 1;
        assert!(looks < 1_200, "nobody missed it within a minute");
    }
    let why = missing.trouble().unwrap();
    assert!(why.contains("/none: it is not there: build helpers/mv"), "{why}");
    drop(missing);

    let hung = program(dir.path(), "#!/bin/sh\nexec sleep 600\n");
    let helper = MotionHelper::start(camera, hung, Rotation::None, book.clone()).unwrap();
    let mut pushed = 0;
    // A pipe holds 64 KiB; then the queue fills, then pictures are dropped, then the process is replaced.
    while helper.starts() < 2 {
        assert!(pushed < 100_000, "{} dropped", helper.dropped());
        helper.push(unit(1, pushed, true, 60_000));
        pushed += 1;
        let pause = crossbeam_channel::never::<()>();
        assert!(pause.recv_timeout(Duration::from_millis(2)).is_err());
    }
    assert!(helper.dropped() >= HUNG);
}

#[test]
fn records_that_are_nonsense_are_errors() {
    assert!(record(&mut &[][..]).unwrap().is_none());
    assert!(record(&mut &[0xff; 13][..]).is_err());
    let mut wide = [0_u8; 53];
    wide[9] = 1;
    wide[13 + 4..13 + 8].copy_from_slice(&300_i32.to_le_bytes());
    assert!(record(&mut &wide[..]).is_err());
}
