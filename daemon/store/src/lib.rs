//! SQLite: events, their outbox, detection results; retention, checks and backup.
//!
//! Terms:
//!
//! * a **change** is what happens to an event (begin, better picture, end), or a whole system event; it is stored together with the
//!   **messages** that tell the world of it, in one transaction;
//! * the **outbox** holds messages until the broker has taken them;
//! * the **spill** is where changes wait on disk while the database is behind.
//!
//! One thread writes (`writer`), through rusqlite, many changes a commit. Any number read, through sqlx. The two
//! files are `events.sqlite` (`synchronous=FULL`: what is committed survives a power cut) and `detections.sqlite`
//! (`NORMAL`: telemetry). `schema.sql` and `schema-detections.sql` are the documents of what is in them.
//!
//! What is full, and what happens then:
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | changes in memory | 256 | the newer ones go to the spill, in order, written by a thread of its own |
//! | changes on their way to the spill | 64 MiB | counted as lost, and logged: both disk paths have failed by then |
//! | spill on disk | a quarter of `max_bytes` | as above |
//! | detection rows in memory | 1,024 | the oldest is dropped and counted |
//! | outbox | 200,000 rows | the oldest are dropped and counted |
//! | files | `max_bytes`, `min_free_bytes` | retention: detections go first, then the oldest ended events; looked at every 30 s and every 2 % of `max_bytes` written |
#![forbid(unsafe_code)]

pub mod backup;
pub mod check;
mod entry;
mod epochs;
mod error;
mod feed;
mod files;
mod migrate;
mod queries;
mod reader;
mod retention;
mod spill;
mod spiller;
mod sql;
mod starts;
mod stats;
mod store;
mod system_events;
#[cfg(test)]
mod tests;
mod trim;
mod types;
mod writer;

pub use error::StoreError;
pub use reader::Reader;
pub use retention::{RetentionLimits, RetentionPlan, Usage};
pub use stats::StoreStats;
pub use store::{Opened, Options, Store};
pub use types::{
    AnyEventPage, AnyEventRow, DetectionQuery, DetectionRow, EventPage, EventQuery, EventRow, OutboxMessage,
    OutboxRow, PictureInfo, Quarantined, SystemEventRow, TRACK,
};
