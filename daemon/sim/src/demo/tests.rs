//! The whole demo with a stand-in for the daemon: a script that serves nothing.

use std::os::unix::fs::PermissionsExt;

use super::*;
use synoptic_media::clocks::SystemClock;

fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("synoptic");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn options(folder: &Path, daemon: &str) -> DemoOptions {
    DemoOptions {
        synoptic: Some(script(folder, daemon)),
        work_dir: Some(folder.join("work")),
        ..DemoOptions::default()
    }
}

fn no_mosquitto() -> bool {
    let missing = process::find_program("mosquitto").is_none();
    if missing {
        eprintln!("SKIPPED: mosquitto is not installed");
    }
    missing
}

#[test]
fn a_daemon_that_does_not_start_is_shown_with_its_log_and_all_else_ends() {
    if no_mosquitto() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), "#!/bin/sh\necho \"$@\"\necho no, thanks\nexit 3\n");
    let (_keep, stop) = crossbeam_channel::bounded(1);
    let error = run(&options, &SystemClock::shared(), &stop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no, thanks") && error.contains("run --config"),
        "{error}"
    );
    let file = std::fs::read_to_string(folder.path().join("work/synoptic.toml")).unwrap();
    let config: toml::Table = file.parse().unwrap();
    let url = config["mqtt"]["url"].as_str().unwrap();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    assert!(!broker::answers(port), "the broker still runs");
    let cameras = config["camera"].as_array().unwrap();
    assert_eq!(cameras.len(), 3);
    assert_eq!(cameras[1]["capture_bias_ms"].as_float(), Some(40.0));
    assert_eq!(config["group"][0]["cameras"].as_array().unwrap().len(), 3);
}

#[test]
fn a_request_to_end_is_heard_while_the_daemon_starts() {
    if no_mosquitto() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), "#!/bin/sh\nexec sleep 600\n");
    let (sender, stop) = crossbeam_channel::bounded(1);
    sender.send(()).unwrap();
    assert_eq!(
        run(&options, &SystemClock::shared(), &stop).unwrap(),
        Outcome::Stopped
    );
}

#[test]
fn a_missing_daemon_is_named() {
    let options = DemoOptions {
        synoptic: Some("/nowhere/synoptic".into()),
        ..DemoOptions::default()
    };
    let (_keep, stop) = crossbeam_channel::bounded(1);
    let error = run(&options, &SystemClock::shared(), &stop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/synoptic") && error.contains("--synoptic"),
        "{error}"
    );
}

#[test]
fn the_page_is_on_loopback_or_where_it_was_asked_for() {
    let plain = WebPorts::choose(None).unwrap();
    assert_eq!(plain.page(), format!("http://127.0.0.1:{}/", plain.api_port));
    let port = broker::free_port().unwrap();
    let open = WebPorts::choose(Some(SocketAddr::from(([0, 0, 0, 0], port)))).unwrap();
    assert_eq!(open.listen.len(), 2);
    assert_ne!(open.api_port, port);
    assert!(open.page().starts_with("https://"), "{}", open.page());
}
