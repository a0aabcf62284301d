//! Downloads: one try after the other, without waits.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use synoptic_engine::update::Fault;

use super::bundle;
use super::server::{Asked, Manner, Server};
use crate::update::fetch::{Goal, client, sha256};

const BYTES: usize = 3_000_000;

struct Desk {
    dir: tempfile::TempDir,
    stop: AtomicBool,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            dir: tempfile::tempdir().unwrap(),
            stop: AtomicBool::new(false),
        }
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("bundle.raucb")
    }
    fn attempt(&self, url: &str, limit: u64) -> Result<u64, (Fault, u64)> {
        let to = self.file();
        let goal = Goal {
            to: &to,
            limit,
            stop: &self.stop,
        };
        goal.by_http(&client(), url, &mut |_, _| {})
    }
    fn try_once(&self, server: &Server) -> Result<u64, (Fault, u64)> {
        self.attempt(&server.url, 1 << 30)
    }
    fn here(&self) -> Vec<u8> {
        std::fs::read(self.file()).unwrap()
    }
}

fn passing(ended: Result<u64, (Fault, u64)>) -> u64 {
    match ended {
        Err((Fault::Passing(_), here)) => here,
        other => panic!("{other:?}"),
    }
}

fn given_up(ended: Result<u64, (Fault, u64)>) -> String {
    match ended {
        Err((Fault::Final(why), _)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_connection_is_gone_on_with_where_it_broke() {
    let body = bundle(BYTES);
    let server = Server::start(body.clone(), &[Manner::Cut(1_000_000), Manner::Cut(500_000)]);
    let desk = Desk::new();
    let first = passing(desk.try_once(&server));
    let second = passing(desk.try_once(&server));
    assert!(
        0 < first && first <= 1_000_000 && first < second && second <= 1_500_000,
        "{first} {second}"
    );
    assert_eq!(desk.try_once(&server).unwrap(), BYTES as u64);
    assert!(desk.here() == body, "the pieces fit");
    let asked = |from: u64| Asked {
        range: Some(format!("bytes={from}-")),
        if_range: Some("\"one\"".to_owned()),
    };
    let none = Asked {
        range: None,
        if_range: None,
    };
    assert_eq!(server.asked(), [none, asked(first), asked(second)]);
    // All of it is here: the server says so, and nothing is loaded again.
    assert_eq!(desk.try_once(&server).unwrap(), BYTES as u64);
    assert_eq!(server.asked().len(), 4);
    assert!(desk.here() == body);
}

#[test]
fn another_file_under_the_same_address_begins_anew() {
    let server = Server::start(bundle(BYTES), &[Manner::Cut(1_000_000)]);
    let desk = Desk::new();
    passing(desk.try_once(&server));
    let other: Vec<u8> = bundle(BYTES).into_iter().rev().collect();
    server.change(other.clone(), "two");
    assert_eq!(desk.try_once(&server).unwrap(), BYTES as u64);
    assert!(desk.here() == other);
    // A shorter one, whose end was passed already.
    server.change(bundle(1_000), "two");
    passing(desk.try_once(&server));
    assert_eq!(desk.try_once(&server).unwrap(), 1_000);
    assert!(desk.here() == bundle(1_000));
    // Of another address nothing is gone on with.
    let elsewhere = Server::start(bundle(2_000), &[]);
    assert_eq!(desk.try_once(&elsewhere).unwrap(), 2_000);
    assert_eq!(elsewhere.asked()[0].range, None);
}

#[test]
fn a_server_without_ranges_sends_it_again() {
    let server = Server::start(bundle(BYTES), &[Manner::Cut(1_000_000), Manner::Whole]);
    let desk = Desk::new();
    passing(desk.try_once(&server));
    assert_eq!(desk.try_once(&server).unwrap(), BYTES as u64);
    assert!(desk.here() == bundle(BYTES));
}

#[test]
fn only_what_may_pass_is_tried_again() {
    for (status, passes) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (410, false),
        (416, false),
        (408, true),
        (429, true),
        (500, true),
        (502, true),
        (503, true),
    ] {
        let server = Server::start(bundle(10), &[Manner::Status(status)]);
        match Desk::new().try_once(&server) {
            Err((Fault::Passing(why), 0)) if passes => assert!(why.contains(&status.to_string()), "{why}"),
            Err((Fault::Final(why), 0)) if !passes => assert!(why.contains(&status.to_string()), "{why}"),
            other => panic!("{status}: {other:?}"),
        }
    }
    // Nobody listens: a server that is being restarted.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    passing(Desk::new().attempt(&url, 1_000));
}

#[test]
fn too_large_is_given_up_at_once_and_never_written() {
    let desk = Desk::new();
    let server = Server::start(bundle(BYTES), &[Manner::Well, Manner::Endless]);
    assert!(given_up(desk.attempt(&server.url, 1_000_000)).contains("larger than 1 MB"));
    assert!(!desk.file().exists());
    // A server that says no length.
    assert!(given_up(desk.attempt(&server.url, 1_000_000)).contains("larger than 1 MB"));
    assert!(desk.here().len() <= 1_000_000);
}

#[test]
fn a_file_is_copied_and_a_download_can_be_stopped() {
    let desk = Desk::new();
    let from = desk.dir.path().join("stick.raucb");
    std::fs::write(&from, bundle(BYTES)).unwrap();
    let to = desk.file();
    let copy = |limit, stop: &AtomicBool| Goal { to: &to, limit, stop }.by_copy(&from, &mut |_, _| {});
    assert_eq!(copy(1 << 30, &desk.stop).unwrap(), BYTES as u64);
    assert!(desk.here() == bundle(BYTES));
    assert_eq!(sha256(&to).unwrap(), sha256(&from).unwrap());
    given_up(copy(1_000, &desk.stop));
    given_up(copy(1 << 30, &AtomicBool::new(true)));
    std::fs::remove_file(&from).unwrap();
    given_up(copy(1 << 30, &desk.stop));
}
