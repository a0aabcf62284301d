//! What network cameras may be set to, each over real sockets: TLS, H.265, UDP, user and password, rotation.

use std::path::Path;
use std::sync::Arc;

use synoptic_base::{FramePacket, Plane, Rotation, Size, Span};
use synoptic_media::{CameraOptions, CameraState, Pixels, RtspTransport, Secret, Source};

use crate::barcode;
use crate::camera::{self, Codec, Content, Identity};
use crate::packets_tests::{Rig, cameras, error_of, id, rtsp, three};
use crate::scene::Scene;

/// Frames looked at in each test.
const FRAMES: usize = 20;

/// A camera whose certificate names `address`, signed by itself.
fn identity(address: &str) -> Identity {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([address.to_owned()]).unwrap();
    Identity {
        certificate: cert.pem(),
        key: signing_key.serialize_pem(),
    }
}

fn over_tls(identity: &Identity) -> camera::CameraOptions {
    camera::CameraOptions {
        tls: Some(identity.clone()),
        ..three().swap_remove(0)
    }
}

fn trusting(url: &str, file: &Path) -> Source {
    let mut source = rtsp(url);
    if let Source::Rtsp { tls_ca, .. } = &mut source {
        *tls_ca = Some(file.to_owned());
    }
    source
}

/// Waits for frames of camera 0 and holds each one's stamp to its barcode.
fn frames_are_true(rig: &mut Rig, what: &str) {
    let mut seen = 0;
    rig.until(what, |rig, _| {
        rig.health.get(&id(0)).is_some_and(|h| h.reports >= 2)
    });
    rig.until(what, |rig, packet| {
        let Some(frame) = packet.and_then(|p| p.frames().next()) else {
            return false;
        };
        let (error, bound) = (error_of(rig, frame), frame.meta.captured.rel_error);
        assert!(error.abs() <= bound, "{what}: {error} against a bound of {bound}");
        seen += 1;
        seen == FRAMES
    });
}

#[test]
fn over_tls_a_camera_is_trusted_by_its_own_certificate() {
    let own = identity("127.0.0.1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("camera.crt");
    std::fs::write(&file, &own.certificate).unwrap();
    let sims = cameras([over_tls(&own)]);
    assert!(sims[0].url().starts_with("rtsps://"));
    let mut rig = Rig::new(vec![(trusting(&sims[0].url(), &file), Span::ZERO)]);
    frames_are_true(&mut rig, "frames over TLS");
}

#[test]
fn over_tls_an_unproven_certificate_is_refused_with_the_reason_or_accepted_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other, elsewhere) = (
        identity("127.0.0.1"),
        identity("127.0.0.1"),
        identity("camera.example"),
    );
    let file = |name: &str, identity: &Identity| {
        let path = folder.path().join(name);
        std::fs::write(&path, &identity.certificate).unwrap();
        path
    };
    let rubbish = folder.path().join("rubbish.crt");
    std::fs::write(&rubbish, "this is no certificate").unwrap();
    let sims = cameras([over_tls(&own), over_tls(&elsewhere)]);
    let (url, elsewhere_url) = (sims[0].url(), sims[1].url());
    let mut unproven = rtsp(&url);
    if let Source::Rtsp { tls_insecure, .. } = &mut unproven {
        *tls_insecure = true;
    }
    let sources = [
        rtsp(&url),
        trusting(&url, &file("other.crt", &other)),
        trusting(&elsewhere_url, &file("elsewhere.crt", &elsewhere)),
        trusting(&url, &rubbish),
        trusting(&url, &folder.path().join("missing.crt")),
        unproven,
    ];
    let mut rig = Rig::new(sources.into_iter().map(|s| (s, Span::ZERO)).collect());
    rig.until("five refusals and one picture", |rig, _| {
        (0..5).all(|i| rig.state(i) == Some(CameraState::Offline))
            && rig.state(5) == Some(CameraState::Online)
    });
    let expected = [
        "no authority that this box trusts signed it; set `tls_ca`",
        "do not vouch for it; is it still the one in `tls_ca`?",
        "it is for another address",
        "rubbish.crt cannot be used",
        "missing.crt cannot be used",
    ];
    for (i, words) in expected.into_iter().enumerate() {
        let reason = rig.states[&id(i)].1.clone().unwrap();
        assert!(reason.contains(words), "camera {i}: {reason}");
        assert!(reason.contains("is not trusted"), "camera {i}: {reason}");
    }
}

#[test]
fn h265_is_decoded_and_named() {
    let sims = cameras([camera::CameraOptions {
        codec: Codec::H265,
        ..three().swap_remove(0)
    }]);
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    frames_are_true(&mut rig, "frames of H.265");
    assert_eq!(rig.codecs[&id(0)], "H.265");
}

#[test]
fn a_camera_that_changes_its_ssrc_is_followed_on_the_same_connection() {
    let sims = cameras([three().swap_remove(0)]);
    let mut rig = Rig::new(vec![(rtsp(&sims[0].url()), Span::ZERO)]);
    frames_are_true(&mut rig, "frames of the first SSRC");
    let (frames, reports) = (rig.stats[&id(0)].decoded, rig.health[&id(0)].reports);
    sims[0].change_ssrc(0x0bad_cafe);
    // Its reports count again from the first one that belongs to it.
    rig.until("reports of the second SSRC", |rig, _| {
        let health = &rig.health[&id(0)];
        rig.stats[&id(0)].decoded > frames + 15 && (health.reports < reports || health.reports > reports + 1)
    });
    frames_are_true(&mut rig, "frames of the second SSRC");
    assert_eq!(rig.stats[&id(0)].connections, 1);
}

#[test]
fn rtp_comes_over_udp_with_user_and_password() {
    let login = ("admin".to_owned(), "päss wörd%@/".to_owned());
    let sims = cameras([camera::CameraOptions {
        login: Some(login.clone()),
        ..three().swap_remove(0)
    }]);
    let mut source = rtsp(&sims[0].url());
    if let Source::Rtsp {
        transport,
        user,
        password,
        ..
    } = &mut source
    {
        *transport = RtspTransport::Udp;
        *user = Some(login.0);
        *password = Some(Secret::new(login.1));
    }
    let mut rig = Rig::new(vec![(source, Span::ZERO)]);
    frames_are_true(&mut rig, "frames over UDP");
    rig.until("counters of what came", |rig, _| {
        rig.stats.get(&id(0)).is_some_and(|s| s.decoded >= FRAMES as u64)
    });
    let stats = rig.stats[&id(0)];
    assert_eq!(stats.connections, 1);
    // Every frame is a packet at least, and an RTP packet fits into an Ethernet frame.
    assert!(stats.transport.packets >= stats.decoded, "{stats:?}");
    let mean = stats.transport.bytes / stats.transport.packets;
    assert!((100..=1_500).contains(&mean), "{stats:?}");
    assert!(
        stats.transport.jitter.is_some_and(|j| j < Span::from_millis(100)),
        "{stats:?}"
    );
}

/// The luma of a frame turned back, clockwise by what is missing to a full turn.
fn turned_back(pixels: &Pixels, size: Size, rotation: Rotation) -> (Vec<u8>, Size) {
    let (w, h) = (size.width as usize, size.height as usize);
    let mut luma = Vec::new();
    pixels
        .with_planes(&mut |planes| {
            let Plane { data, stride } = planes.luma();
            luma = (0..h).flat_map(|y| data[y * stride..][..w].to_vec()).collect();
        })
        .unwrap();
    let at = |x: usize, y: usize| luma[y * w + x];
    match rotation {
        Rotation::None => (luma, size),
        Rotation::Half => (luma.into_iter().rev().collect(), size),
        Rotation::Quarter | Rotation::ThreeQuarter => {
            let original = Size::new(size.height, size.width);
            let pixel = |i: usize| {
                let (x, y) = (i % h, i / h);
                if rotation == Rotation::Quarter {
                    at(w - 1 - y, x)
                } else {
                    at(y, h - 1 - x)
                }
            };
            ((0..w * h).map(pixel).collect(), original)
        }
    }
}

#[test]
fn pictures_are_turned_clockwise_by_what_is_configured() {
    let scene = Arc::new(Scene::new(7, Size::new(640, 360), 1).unwrap());
    let sims = cameras([camera::CameraOptions::new(
        "turned",
        Content::Scene { scene, view: 0 },
    )]);
    let turns = [Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarter];
    let options = turns.iter().enumerate().map(|(i, rotation)| CameraOptions {
        id: id(i),
        source: rtsp(&sims[0].url()),
        rotation: *rotation,
        stall_after: Span::from_secs(3),
        capture_bias: Span::ZERO,
        capture_bias_error: Span::from_millis(12),
    });
    let mut rig = Rig::with(options.collect());
    let mut read = [false; 3];
    rig.until("a readable picture of each turn", |_, packet| {
        for frame in packet.into_iter().flat_map(FramePacket::frames) {
            let i = (0..3).find(|i| id(*i) == frame.meta.key.stream).unwrap();
            let (luma, size) = turned_back(&frame.pixels, frame.meta.size, turns[i]);
            assert_eq!(size, Size::new(640, 360), "{:?}", turns[i]);
            let plane = Plane {
                data: &luma,
                stride: size.width as usize,
            };
            // A client that joins between I pictures gets some that cannot be read.
            read[i] |= barcode::read(plane, size).is_some();
        }
        read == [true; 3]
    });
}
