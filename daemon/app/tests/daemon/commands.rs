//! The command line where something is wrong, and where all is well.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::daemon::{Daemon, cli, synoptic, text};
use crate::harness::{Stage, camera, free_port, until, views};

/// A child that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs the daemon, which is to end by itself; its exit code and what it said.
fn refused(stage: &Stage, config: &Path) -> (Option<i32>, String) {
    let said = stage.path("stderr");
    let child = synoptic()
        .arg("--config")
        .arg(config)
        .arg("run")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let mut guard = Guard(child);
    let status = until("the daemon's refusal", || guard.0.try_wait().unwrap());
    (status.code(), std::fs::read_to_string(said).unwrap())
}

#[test]
fn check_names_every_mistake_with_its_line() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure("[[camera]]\nid = \"Front Door\"\nsource = \"http://x\"\n");
    let lines = std::fs::read_to_string(&config).unwrap();
    let line = |start: &str| lines.lines().position(|l| l.starts_with(start)).unwrap() + 1;
    let output = cli(&["--config", &config.display().to_string(), "check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for start in ["id = \"Front", "source ="] {
        assert!(
            said.contains(&format!("synoptic.toml:{}:", line(start))),
            "{said}"
        );
    }
    // The daemon refuses it in the same words.
    let (code, why) = refused(&stage, &config);
    assert_eq!(code, Some(1));
    assert!(
        why.contains(&format!("synoptic.toml:{}:", line("source ="))),
        "{why}"
    );
}

#[test]
fn probe_tells_a_good_camera_from_a_bad_one() {
    let Some(_stage) = Stage::set() else { return };
    let sim = camera(&views(1)[0]);
    let good = cli(&["probe", "--seconds", "3", &sim.url()]);
    let said = text(&good.stdout);
    assert!(good.status.success(), "{said}{}", text(&good.stderr));
    assert!(said.contains("\nGood: H.264, 640x360 at "), "{said}");
    assert!(said.contains("sender_report"), "{said}");
    let bad = cli(&["probe", &format!("rtsp://127.0.0.1:{}/x", free_port())]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad.stdout).contains("Cannot reach"),
        "{}",
        text(&bad.stdout)
    );
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let Some(stage) = Stage::set() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = stage.configure_with(&stage.path("data"), &address, "");
    let (code, why) = refused(&stage, &config);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&address) && why.contains("in use"), "{why}");

    // Root may write anywhere, but not below a file.
    std::fs::write(stage.path("file"), "").unwrap();
    let below = stage.path("file").join("data");
    let config = stage.configure_with(&below, "127.0.0.1:0", "");
    let (code, why) = refused(&stage, &config);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&below.display().to_string()), "{why}");

    let config = stage.configure("");
    let _running = Daemon::start(&config);
    let (code, why) = refused(&stage, &config);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&stage.path("data").display().to_string()), "{why}");
    assert!(why.contains("another") || why.contains("in use"), "{why}");
}

#[test]
fn play_shows_a_file_with_its_sound_and_says_how_it_went() {
    let Some(stage) = Stage::set() else { return };
    let clip = stage.path("clip.mkv");
    if let Err(error) = synoptic_sim::flash::write_clip(&clip, "x264enc", "mulawenc", "matroskamux", 8_000, 2)
    {
        eprintln!("SKIPPED: {error}");
        return;
    }
    let clip = clip.display().to_string();
    let sinks = ["--sink", "fakesink", "--audio-sink", "fakesink", "--stats"];
    let played = cli(&[&["play", &clip][..], &sinks].concat());
    let said = text(&played.stdout);
    assert!(played.status.success(), "{said}{}", text(&played.stderr));
    assert!(said.contains("A-V ") && said.contains("shown "), "{said}");
    // On UTC a file needs to know from when on.
    let refused = cli(&["play", &clip, "--sync", "utc"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("--start"),
        "{}",
        text(&refused.stderr)
    );
    let no_sink = cli(&["play", &clip, "--sink", "nosuchsink"]);
    assert!(
        text(&no_sink.stderr).contains("nosuchsink"),
        "{}",
        text(&no_sink.stderr)
    );
}
