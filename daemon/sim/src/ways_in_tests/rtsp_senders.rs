//! RTSP by programs of others: what their RTP time stamps and sender reports say is theirs, and not what the simulator's
//! server says. The barcode is the truth.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use synoptic_base::{Span, StreamId};
use synoptic_media::{CameraState, RtspTransport, Source};

use super::programs::{Program, answers, free_port, lacks};
use super::rtsp_relay::RtspRelay;
use super::{frames_are_true, rig};
use crate::packets_tests::{Rig, cameras, id, rtsp, three};

/// What nobody measured of a sender between camera and box: declared, it widens every bound.
const UNMEASURED: Span = Span::from_secs(2);

/// User and group `nobody` of Debian (base-passwd) and most others.
const NOBODY: u32 = 65_534;

fn reports(rig: &Rig) -> u32 {
    rig.health.get(&id(0)).map_or(0, |h| h.reports)
}

#[test]
fn ffmpeg_as_the_sender_is_true_within_its_bound_and_comes_back() {
    if lacks(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sims = cameras([three().swap_remove(0)]);
    let relay = RtspRelay::start();
    let url = relay.url();
    let send = || {
        Program::relay(
            &sims[0].url(),
            &["-f", "rtsp", "-rtsp_transport", "tcp", &url],
            folder.path(),
        )
    };
    let sender = send();
    let mut rig = rig(rtsp(&url), Span::ZERO, UNMEASURED);
    frames_are_true(&mut rig, "RTSP of FFmpeg", None);
    assert_eq!(rig.codecs[&id(0)], "H.264");
    rig.until("reports of FFmpeg", |rig, _| reports(rig) >= 2);
    assert!(relay.reports() >= 2, "they are the sender's own");
    frames_are_true(&mut rig, "RTSP of FFmpeg, with reports", None);
    drop(sender);
    rig.until("the stall", |rig, _| rig.state(0) != Some(CameraState::Online));
    let _again = send();
    rig.until("a picture of the next FFmpeg", |rig, packet| {
        packet.is_some_and(|p| p.frames().next().is_some()) && rig.sizes[&id(0)].len() >= 2
    });
    frames_are_true(&mut rig, "RTSP of FFmpeg, begun anew", None);
}

#[test]
fn vlc_as_the_sender_is_true_within_its_bound() {
    if lacks(&["cvlc", "ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sims = cameras([three().swap_remove(0)]);
    let (between, port) = (free_port(), free_port());
    // Debian's VLC reads no RTSP (live555 is not in it): FFmpeg hands it the camera's pictures as they are. By UDP: what is sent
    // before VLC listens is gone, where a connection would keep it and VLC be late by it for ever.
    let to = format!("udp://127.0.0.1:{between}?pkt_size=1316");
    let _between = Program::relay(
        &sims[0].url(),
        &["-bsf:v", "dump_extra", "-f", "mpegts", &to],
        folder.path(),
    );
    let between = format!("udp://@127.0.0.1:{between}");
    let sout = format!("#rtp{{sdp=rtsp://127.0.0.1:{port}/cam}}");
    // VLC refuses root, and wants a home where it may write.
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    for place in [folder.path(), &home] {
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut vlc = Command::new("cvlc");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        vlc.uid(NOBODY).gid(NOBODY);
    }
    vlc.env("HOME", &home)
        .args(["-I", "dummy", "--no-audio", "--network-caching=200"])
        .args(["--sout", &sout, &between]);
    let _vlc = Program::start(vlc, folder.path());
    answers(port);
    // VLC 3 serves RTP over UDP only.
    let Source::Rtsp {
        url,
        sub_url,
        user,
        password,
        tls_insecure,
        tls_ca,
        ..
    } = rtsp(&format!("rtsp://127.0.0.1:{port}/cam"))
    else {
        unreachable!()
    };
    let source = Source::Rtsp {
        url,
        sub_url,
        transport: RtspTransport::Udp,
        user,
        password,
        tls_insecure,
        tls_ca,
    };
    let mut rig = rig(source, Span::ZERO, UNMEASURED);
    frames_are_true(&mut rig, "RTSP of VLC", None);
    rig.until("reports of VLC", |rig, _| reports(rig) >= 2);
    frames_are_true(&mut rig, "RTSP of VLC, with reports", None);
    let camera: StreamId = id(0);
    assert_eq!(rig.sizes[&camera].len(), 1, "its reports begin no epoch");
}
