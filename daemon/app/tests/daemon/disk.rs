//! A damaged database, and a disk without room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use synoptic_app::documents::EventPhase;

use crate::daemon::{Daemon, cli, text};
use crate::harness::{Stage, until};
use crate::mqtt::Listener;

#[test]
fn a_damaged_database_is_set_aside_and_service_goes_on() {
    let Some(stage) = Stage::set() else { return };
    let config = stage.configure(&stage.file_camera("clip"));
    let data = stage.path("data");
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    listener.until_event("an event", |m| m.phase == EventPhase::Start);
    let epoch = daemon.online().cameras[0].stream.as_ref().unwrap().epoch;
    assert_eq!(daemon.stop().0.code(), Some(0));
    drop(daemon);

    let database = data.join("events.sqlite");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[..4096].fill(0x5a);
    std::fs::write(&database, bytes).unwrap();
    let mut daemon = Daemon::start(&config);
    let line = daemon.logged("was damaged");
    let aside = std::fs::read_dir(&data)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("events.sqlite.") && !n.ends_with("-wal") && !n.ends_with("-shm"))
        .find(|n| line.contains(n.as_str()));
    assert!(aside.is_some(), "the log names no file that is there: {line}");
    let now = daemon.online().cameras[0].stream.as_ref().unwrap().epoch;
    assert!(
        now > epoch,
        "epochs began anew with the database: {now} after {epoch}"
    );
    until("an event in the new database", || {
        (!daemon.events().is_empty()).then_some(())
    });
    let checked = cli(&["--config", &config.display().to_string(), "db", "check"]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
}

/// A small file system of its own; taken down when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, aloud, where mounting is not allowed.
    fn mount(place: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "synoptic-test"])
            .arg(place)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(place.to_owned())),
            Ok(output) => {
                eprintln!(
                    "SKIPPED: no small disk can be mounted: {}",
                    text(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no small disk can be mounted: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that just died may still hold a file.
        let ended = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(ended.is_ok_and(|s| s.success()) || std::thread::panicking());
    }
}

/// Writes zeros until nothing fits any more.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_stops_nothing_and_what_happened_meanwhile_is_stored_later() {
    let Some(stage) = Stage::set() else { return };
    let Some(disk) = SmallDisk::mount(&stage.path("small")) else {
        return;
    };
    let data = disk.0.join("data");
    let config = stage.configure_with(&data, "127.0.0.1:0", &stage.file_camera("clip"));
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    listener.until_event("an event", |m| m.phase == EventPhase::Start);

    let filler = disk.0.join("filler");
    fill(&filler);
    let full = daemon.log().len();
    let complaint = daemon.logged_after(full, "ERROR store: ");
    assert!(
        complaint.contains("full") || complaint.contains("space"),
        "{complaint}"
    );
    // An event that begins while nothing can be written.
    let complained = daemon.log().len();
    daemon.logged_after(complained, "appeared: event");
    let status = daemon.online();
    assert!(status.groups.iter().all(|g| g.packets_per_s > 0.0));
    let stamped = |line: &str| line.split("event ").nth(1).map(|id| id.trim().to_owned());
    let meanwhile: BTreeSet<String> = daemon.log()[complained..]
        .iter()
        .filter(|l| l.contains("appeared: event"))
        .filter_map(|l| stamped(l))
        .collect();
    assert!(!meanwhile.is_empty());

    std::fs::remove_file(&filler).unwrap();
    daemon.logged("store: writing again");
    for id in &meanwhile {
        listener.until_event("an event of the full disk", |m| m.id == *id);
        assert!(daemon.get(&format!("/api/v1/events/{id}")).is_ok());
    }
    let errors = daemon.log().iter().filter(|l| l.contains("ERROR")).count();
    assert!(errors < 20, "{errors} error lines in the log for one full disk");
    assert_eq!(daemon.stop().0.code(), Some(0));
    drop(daemon);
}
