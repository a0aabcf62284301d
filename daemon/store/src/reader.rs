//! Reading a store beside the daemon that writes it: for tools.

use std::path::Path;

use sqlx::SqlitePool;
use synoptic_base::EventId;

use crate::store::pool;
use crate::{AnyEventPage, EventPage, EventQuery, EventRow, StoreError, migrate, queries, system_events};

/// The events of a store, read only.
pub struct Reader {
    events: SqlitePool,
}

impl Reader {
    /// Opens the store in `dir`, whether a daemon runs on it or not.
    ///
    /// # Errors
    /// There is no store, or it is of a newer program that older ones cannot read.
    pub fn open(dir: &Path) -> Result<Reader, StoreError> {
        let database = migrate::events();
        // Checks that it is there and readable; the pool opens its connections later.
        drop(database.reader(dir)?);
        Ok(Reader {
            events: pool(&database, dir, 1),
        })
    }

    /// Events that match, newest first.
    ///
    /// # Errors
    /// The cursor is none, or the file cannot be read.
    pub async fn events(&self, q: &EventQuery) -> Result<EventPage, StoreError> {
        queries::events(&self.events, q).await
    }

    /// Events of every kind that match, newest first.
    ///
    /// # Errors
    /// The cursor is none, or the file cannot be read.
    pub async fn any_events(&self, q: &EventQuery) -> Result<AnyEventPage, StoreError> {
        system_events::any(&self.events, q).await
    }

    /// One event.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<EventRow>, StoreError> {
        queries::event(&self.events, id).await
    }

    /// An event's picture, JPEG.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn picture(&self, id: EventId) -> Result<Option<Vec<u8>>, StoreError> {
        queries::picture(&self.events, id).await
    }
}
