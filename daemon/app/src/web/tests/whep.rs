//! WHEP over real sockets: the routes. What a session sends is tested in `synoptic_media::webrtc`, and in a browser.

use synoptic_media::webrtc::Session;

use super::streams::live;
use super::*;

/// A browser's offer; the fingerprint is nobody's, so no connection comes of it.
fn offer() -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 104\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\n\
        a=recvonly\r\na=rtcp-mux\r\na=rtpmap:104 H264/90000\r\na=rtcp-fb:104 nack pli\r\n\
        a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

fn post(server: &Server, path: &str, kind: &str, body: &str) -> Answer {
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(server.url(path))
        .header("content-type", kind);
    let mut answer = server.client.run(request.body(body.to_owned()).unwrap()).unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.body_mut().read_to_vec().unwrap(),
    }
}

#[test]
fn an_offer_is_answered_and_what_makes_no_sense_is_refused() {
    synoptic_media::init().unwrap();
    let server = Server::start(OPEN);
    let sdp = "application/sdp";
    let whep = "/api/v1/streams/a/whep";
    post(&server, "/api/v1/streams/nobody/whep", sdp, &offer()).problem(404);
    post(&server, whep, "application/json", "{}").problem(415);
    post(&server, whep, sdp, "hello").problem(400);
    post(&server, whep, sdp, &offer().replace("H264", "VP8")).problem(422);
    let options = server.ask("OPTIONS", whep, &[], None);
    assert_eq!((options.status, options.header("accept-post")), (204, sdp));
    assert_eq!(options.header("link"), "");
    assert_eq!(
        server
            .ask("OPTIONS", "/api/v1/streams/nobody/whep", &[], None)
            .status,
        404
    );
    assert_eq!(server.ask("PATCH", whep, &[], None).status, 405);
    server
        .ask("DELETE", &format!("{whep}/{}", Uuid::nil()), &[], None)
        .problem(404);
    // No picture has come yet.
    let doc = post(&server, whep, sdp, &offer()).problem(503);
    assert!(
        doc["detail"]
            .as_str()
            .unwrap()
            .contains("`a` cannot be watched now"),
        "{doc}"
    );

    if gst::ElementFactory::find("nicesink").is_none() {
        return eprintln!("SKIPPED: gstreamer1.0-nice is not here; scripts/setup.sh installs it");
    }
    let _live = live(&server, Rotation::None);
    let stream = server.hub.relay.stream(id("a"));
    let mut reader = stream.subscribe(synoptic_media::coded::Want::Playable);
    while !matches!(
        reader.next_timeout(Span::from_secs(60)).unwrap().unwrap(),
        synoptic_media::coded::CodedEvent::Frame(_)
    ) {}
    drop(reader);
    let begun = post(
        &server,
        &format!("{whep}?"),
        "application/sdp; charset=utf-8",
        &offer(),
    );
    assert_eq!(
        (begun.status, begun.header("content-type")),
        (201, sdp),
        "{}",
        begun.text()
    );
    let answer = begun.text();
    for line in ["a=sendonly", "a=candidate:", "H264/90000", "m=video"] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    assert_eq!(begun.header("synoptic-epoch"), "3");
    let place = begun.header("location").to_owned();
    assert!(place.starts_with(&format!("{whep}/")), "{place}");
    assert_eq!(stream.readers(), 1);
    let viewers = server.get("/api/v1/streams").json()[0]["webrtc"].clone();
    assert_eq!(viewers.as_array().unwrap().len(), 1, "{viewers}");
    assert!(
        place.ends_with(viewers[0]["session"].as_str().unwrap()),
        "{viewers}"
    );
    assert_eq!(
        (&viewers[0]["pictures"], &viewers[0]["trouble"]),
        (&json!("all"), &Value::Null)
    );
    // Of another stream there is no such session.
    server
        .ask("DELETE", &place.replace("/a/", "/b/"), &[], None)
        .problem(404);
    assert_eq!(server.ask("DELETE", &place, &[], None).status, 200);
    server.ask("DELETE", &place, &[], None).problem(404);
    let deadline = Duration::from_secs(60);
    let gone = async {
        while Session::running() > 0 || stream.readers() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    server
        .runtime
        .block_on(async { tokio::time::timeout(deadline, gone).await })
        .expect("the session did not end");
}

#[test]
fn servers_are_told_to_viewers() {
    let ice = IceServers {
        stun: Some("stun:s:1".to_owned()),
        turn: Some(synoptic_media::webrtc::TurnServer {
            url: "turn:t:2?transport=tcp".to_owned(),
            user: "u".to_owned(),
            password: Secret::new("p w".to_owned()),
        }),
    };
    let server = Server::start_with(OPEN, ice);
    let answer = server.ask("OPTIONS", "/api/v1/streams/a/whep", &[], None);
    let links: Vec<&str> = answer
        .headers
        .get_all("link")
        .iter()
        .map(|l| l.to_str().unwrap())
        .collect();
    assert_eq!(
        links,
        [
            "<stun:s:1>; rel=\"ice-server\"",
            "<turn:t:2?transport=tcp>; rel=\"ice-server\"; username=\"u\"; credential=\"p w\"; credential-type=\"password\"",
        ]
    );
}

#[test]
fn whep_wants_a_sign_in_where_everything_does() {
    let server = Server::start(CLOSED);
    assert_eq!(
        post(&server, "/api/v1/streams/a/whep", "application/sdp", &offer()).status,
        401
    );
    assert_eq!(
        server.ask("OPTIONS", "/api/v1/streams/a/whep", &[], None).status,
        401
    );
}
