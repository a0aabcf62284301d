//! What leaves the daemon: served by RTSP, pushed to a server that comes and goes, changed by the API.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use synoptic_app::outputs::{OutputDoc, OutputState};

use crate::daemon::{Daemon, text};
use crate::harness::{Stage, camera, free_port, rtsp_camera, until, views};

/// FFmpeg as an RTMP server for one push; ended by its own id.
struct RtmpServer(Child);

impl RtmpServer {
    fn start(port: u16, stage: &Stage) -> RtmpServer {
        let child = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-loglevel",
                "error",
                "-y",
                "-listen",
                "1",
                "-f",
                "flv",
                "-i",
            ])
            .arg(format!("rtmp://127.0.0.1:{port}/live/streamkey"))
            .args(["-c", "copy"])
            .arg(stage.path("taken.flv"))
            .stdin(Stdio::null())
            .spawn();
        RtmpServer(child.unwrap())
    }
}

impl Drop for RtmpServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("-version")
        .stdout(Stdio::null())
        .status();
    if found.is_err() {
        eprintln!("SKIPPED: {program} is not here; scripts/setup.sh test installs it");
    }
    found.is_ok()
}

fn outputs(daemon: &Daemon) -> Vec<OutputDoc> {
    serde_json::from_slice(&daemon.get("/api/v1/outputs").unwrap()).unwrap()
}

fn output(daemon: &Daemon, id: &str) -> Option<OutputDoc> {
    outputs(daemon).into_iter().find(|o| o.id == id)
}

fn becomes(daemon: &Daemon, id: &str, state: OutputState) -> OutputDoc {
    until(&format!("output {id} to be {state:?}"), || {
        output(daemon, id).filter(|o| o.state == state)
    })
}

/// Whether ffprobe finds H.264 there.
fn plays(url: &str) -> bool {
    let done = Command::new("timeout")
        .args([
            "40",
            "ffprobe",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-show_streams",
            url,
        ])
        .output()
        .unwrap();
    text(&done.stdout).contains("codec_name=h264")
}

#[test]
fn outputs_are_served_and_pushed_and_none_waits_for_another() {
    if !there("ffmpeg") || !there("ffprobe") {
        return;
    }
    let Some(stage) = Stage::set() else { return };
    let sims: Vec<_> = views(1).iter().map(camera).collect();
    let (rtsp, rtmp) = (free_port(), free_port());
    std::fs::write(stage.path("rtsp.password"), "correct horse").unwrap();
    let more = format!(
        "{}[rtsp]\nlisten = \"127.0.0.1:{rtsp}\"\nuser = \"viewer\"\npassword = {{ file = \"rtsp.password\" }}\n\n\
         # The relay of the company.\n[[output]]\nid = \"relay\"\nstream = \"gate\"\n\
         url = \"rtmp://127.0.0.1:{rtmp}/live/streamkey\"\n\n\
         [[output]]\nid = \"gate\"\nstream = \"gate\"\nserve = \"rtsp\"\n",
        rtsp_camera("gate", &sims[0].url(), "")
    );
    let config = stage.configure(&more);
    let mut daemon = Daemon::start(&config);
    daemon.online();

    // The server is away: that is said, and the served one does not care.
    let relay = becomes(&daemon, "relay", OutputState::Retrying);
    assert!(relay.reason.is_some() && relay.failures > 0, "{relay:?}");
    let address = format!("127.0.0.1:{rtsp}/gate");
    assert!(plays(&format!("rtsp://viewer:correct%20horse@{address}")));
    assert!(!plays(&format!("rtsp://viewer:wrong@{address}")));
    let gate = becomes(&daemon, "gate", OutputState::Waiting);
    assert_eq!(gate.url, format!("rtsp://{address}"));
    assert!(gate.pictures > 0 && gate.transcoded.is_none(), "{gate:?}");

    // It comes, goes, and comes back.
    let server = RtmpServer::start(rtmp, &stage);
    let relay = becomes(&daemon, "relay", OutputState::Running);
    assert_eq!((relay.width, relay.height), (Some(640), Some(360)));
    drop(server);
    becomes(&daemon, "relay", OutputState::Retrying);
    let server = RtmpServer::start(rtmp, &stage);
    becomes(&daemon, "relay", OutputState::Running);

    // By the API: added, changed, removed; the others go on.
    let before = output(&daemon, "relay").unwrap();
    let new = json!({
        "id": "small", "stream": "gate", "serve": "rtsp", "path": "a/small", "transcode": "always",
        "width": 320, "height": 180, "fps": 5
    });
    daemon.post("/api/v1/outputs", &new).unwrap();
    until("the new output", || output(&daemon, "small"));
    assert!(plays(&format!(
        "rtsp://viewer:correct%20horse@127.0.0.1:{rtsp}/a/small"
    )));
    let small = output(&daemon, "small").unwrap();
    assert_eq!(
        (small.width, small.transcoded.as_deref()),
        (Some(320), Some("options"))
    );
    assert_eq!(daemon.post("/api/v1/outputs", &new).unwrap_err().0, 409);
    let (code, why) = daemon
        .post(
            "/api/v1/outputs",
            &json!({"id": "x", "stream": "gat", "serve": "rtsp"}),
        )
        .unwrap_err();
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!((code, &why["field"]), (422, &json!("stream")), "{why}");
    assert!(
        why["detail"].as_str().unwrap().contains("did you mean `gate`?"),
        "{why}"
    );
    daemon.delete("/api/v1/outputs/small").unwrap();
    until("it to be gone", || {
        output(&daemon, "small").is_none().then_some(())
    });
    let after = output(&daemon, "relay").unwrap();
    assert_eq!((after.since, after.failures), (before.since, before.failures));
    let file = std::fs::read_to_string(&config).unwrap();
    assert!(
        file.contains("# The relay of the company.") && !file.contains("small"),
        "{file}"
    );

    // Nothing secret is told.
    let told = text(&daemon.get("/api/v1/outputs").unwrap());
    assert!(!told.contains("streamkey") && !told.contains("horse"), "{told}");
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let log = daemon.log().join("\n");
    assert!(
        !log.contains("streamkey") && !log.contains("correct horse"),
        "{log}"
    );
    drop(server);
}
