//! Updates against a RAUC and a logind that are played on a bus of the test's own, and a web server that misbehaves.

mod command;
mod fake_rauc;
mod http;
mod life;
mod server;

/// The bundle of the tests: what the played RAUC makes of it is its own matter.
fn bundle(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
}
