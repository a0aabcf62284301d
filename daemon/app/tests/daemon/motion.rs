//! Motion vectors of a camera: its helper process is started, watched and replaced, and costs nothing else when it fails.
//! What the vectors are worth is held against FFmpeg in python/tests.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use synoptic_app::documents::CameraState;

use crate::daemon::{Daemon, cam};
use crate::harness::{Stage, camera, rtsp_camera, until, views};

/// A program at `path` that does what the text says.
fn program(path: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A reader of a group's packets (docs/reference/packets.md): says hello, and takes nothing.
fn reader(socket: &Path) -> UnixStream {
    let mut stream = until("the socket of the group", || UnixStream::connect(socket).ok());
    let mut hello = Vec::from(*b"HELO");
    hello.extend(1_u32.to_le_bytes());
    hello.extend(1_u64.to_le_bytes());
    hello.extend([0; 16]);
    stream.write_all(&hello).unwrap();
    let mut answer = [0; 32];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..4], b"HELO");
    stream
}

/// For each unit a frame without vectors, and a line in the file `told`: how a helper answers (helpers/mv).
fn fake(told: &Path) -> String {
    format!(
        r#"#!/usr/bin/env python3
import struct, sys
with open({told:?}, "a") as told:
    while True:
        head = sys.stdin.buffer.read(12)
        if len(head) < 12: break
        length, time = struct.unpack("<Iq", head)
        sys.stdin.buffer.read(length)
        sys.stdout.buffer.write(struct.pack("<qBI", time, 80, 0))
        sys.stdout.buffer.flush()
        print(length, file=told, flush=True)
"#
    )
}

#[test]
fn a_helper_that_fails_costs_the_vectors_only_and_one_that_works_is_fed() {
    let Some(stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let told = stage.path("told");
    let configure = |helper: &Path| {
        let table = rtsp_camera("gate", &sim.url(), "motion_vectors = true\n");
        stage.configure(&format!(
            "{table}\n[[group]]\nid = \"main\"\ncameras = [\"gate\"]\n\n\
             [packets]\ndir = {:?}\nmotion_helper = {helper:?}\n",
            stage.path("packets")
        ))
    };
    let mut daemon = Daemon::start(&configure(&stage.path("none")));
    let status = daemon.online();
    assert_eq!(
        cam(&status, "gate").status.reason,
        None,
        "nobody reads: nothing is missing"
    );
    let reading = reader(&stage.path("packets/main.sock"));
    let says = |daemon: &Daemon, part: &str| {
        let status = daemon.until(part, |s| {
            let gate = &cam(s, "gate").status;
            gate.reason.as_deref().is_some_and(|r| r.contains(part))
        });
        let gate = cam(&status, "gate");
        assert_eq!(gate.status.state, CameraState::Online);
        let decoded = gate.traffic.frames_decoded;
        daemon.until("frames all the while", |s| {
            cam(s, "gate").traffic.frames_decoded > decoded + 5
        });
    };
    says(&daemon, "no motion vectors");
    daemon.logged("it is not there: build helpers/mv");

    let dies = program(stage.path("dies"), "#!/bin/sh\nexit 7\n");
    configure(&dies);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    says(&daemon, "it ended: exit status: 7");

    let works = program(stage.path("works"), &fake(&told));
    configure(&works);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    until("coded pictures at the helper", || {
        let lines = std::fs::read_to_string(&told).unwrap_or_default();
        (lines.lines().count() > 20).then_some(())
    });
    daemon.until("nothing to complain of", |s| {
        cam(s, "gate").status.reason.is_none()
    });

    // Nobody reads any more: the helper goes.
    drop(reading);
    until("the helper is gone", || {
        let alive = |entry: std::io::Result<std::fs::DirEntry>| {
            let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let text = String::from_utf8_lossy(&line).into_owned();
            text.contains(works.to_str().unwrap()).then_some(())
        };
        let mut all = std::fs::read_dir("/proc").unwrap();
        all.find_map(alive).is_none().then_some(())
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
}
