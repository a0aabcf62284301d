//! RTSP over TLS, and the ONVIF extension.

use synoptic_media::output::{HeaderTimes, ServerTls};

use super::*;

#[test]
fn the_onvif_extension_tells_the_capture_and_the_clean_points() {
    let this = Box::start(&three()[0]);
    let server = this.serve(None);
    let relay = this.relay.clone();
    let reading = move || Reading::plain(relay.stream(id(0))).with_header_times(HeaderTimes::Onvif);
    server.mount("vms", Arc::new(reading)).unwrap();
    let mut reader = Reader::play(server.address(), "vms");
    assert!(!reader.sdp.contains("extmap"), "{}", reader.sdp);
    let heard = reader.hear(0, 40);
    let mut clean = 0;
    for picture in heard.pictures.iter().skip(1) {
        let (kind, bytes) = picture.extension.as_ref().expect("no extension");
        assert_eq!((*kind, bytes.len()), (0xabac, 12));
        let ntp = u64::from_be_bytes(bytes[..8].try_into().unwrap());
        let off = (Utc::from_ntp(ntp) - picture.sei.utc).abs();
        assert!(off < Span::from_micros(1), "{off}");
        clean += usize::from(bytes[8] & 0x80 != 0);
    }
    assert!((1..20).contains(&clean), "{clean} clean points of 40");
}

#[test]
fn rtsps_is_served_with_a_certificate_and_to_nobody_in_the_clear() {
    if lacks(&["ffprobe", "openssl", "timeout"]) {
        return;
    }
    let this = Box::start(&three()[0]);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let paths = [&certificate, &key].map(|p| p.display().to_string());
    let made = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-out",
            &paths[0],
            "-keyout",
            &paths[1],
        ],
    );
    assert!(made.0, "{}", made.1);
    let login = Login {
        user: "viewer".to_owned(),
        password: Secret::new("word".to_owned()),
    };
    let tls = ServerTls { certificate, key };
    // With a login and without one.
    for login in [None, Some(&login)] {
        let server = RtspServer::start(LISTEN.parse().unwrap(), login, Some(&tls)).unwrap();
        assert!(server.has_tls());
        let relay = this.relay.clone();
        let reading = Arc::new(move || Reading::plain(relay.stream(id(0))));
        server.mount("yard/cam", reading).unwrap();
        let address = server.address();
        let who = if login.is_some() { "viewer:word@" } else { "" };
        let (codec, _, packets) = probed(
            &format!("rtsps://{who}{address}/yard/cam"),
            &["-rtsp_transport", "tcp"],
        );
        assert!(codec == "h264" && packets >= 15, "{packets} packets");
        let clear = reader::in_the_clear(address, "yard/cam");
        assert!(!clear.contains("RTSP/1.0"), "in the clear: {clear}");
        if login.is_some() {
            let (done, text) = run(
                "ffprobe",
                &[
                    "-v",
                    "error",
                    "-rtsp_transport",
                    "tcp",
                    &format!("rtsps://{address}/yard/cam"),
                ],
            );
            assert!(!done && text.contains("401"), "{text}");
        }
    }
    let none = ServerTls {
        certificate: folder.path().join("none.pem"),
        ..tls
    };
    let Err(error) = RtspServer::start(LISTEN.parse().unwrap(), None, Some(&none)) else {
        panic!("it has no certificate");
    };
    assert!(error.to_string().contains("none.pem"), "{error}");
}
