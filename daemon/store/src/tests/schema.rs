//! `schema.sql` is the document: the migrations lead to exactly that.

use rusqlite::Connection;

use super::*;

/// Every object's text without comments and layout, by name.
fn objects(db: &Connection) -> Vec<(String, String, String)> {
    let mut s = db
        .prepare(
            "SELECT type, name, coalesce(sql, '') FROM sqlite_schema
             WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name",
        )
        .unwrap();
    let rows = s
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, String>(2)?)))
        .unwrap();
    rows.map(|row| {
        let (kind, name, sql) = row.unwrap();
        let plain: Vec<_> = sql.lines().map(|l| l.split("--").next().unwrap()).collect();
        (
            kind,
            name,
            plain.join(" ").split_whitespace().collect::<Vec<_>>().join(" "),
        )
    })
    .collect()
}

fn meta(db: &Connection) -> Vec<(String, String)> {
    let mut s = db.prepare("SELECT key, value FROM meta ORDER BY key").unwrap();
    let rows = s.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_migrations_yield_exactly_the_documents() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.store.close().await.unwrap();
    for (name, document, known) in [
        (
            "events.sqlite",
            include_str!("../../schema.sql"),
            crate::migrate::events().schema,
        ),
        (
            "detections.sqlite",
            include_str!("../../schema-detections.sql"),
            crate::migrate::detections().schema,
        ),
    ] {
        let migrated = Connection::open(dir.path().join(name)).unwrap();
        let documented = Connection::open_in_memory().unwrap();
        documented.execute_batch(document).unwrap();
        assert_eq!(objects(&migrated), objects(&documented), "{name}");
        assert_eq!(meta(&migrated), meta(&documented), "{name}");
        assert_eq!(meta(&migrated)[1], ("schema".to_owned(), known.to_string()));
        let newest: i64 = migrated
            .query_row("SELECT max(version) FROM _sqlx_migrations", [], |r| r.get(0))
            .unwrap();
        assert_eq!(
            newest, known,
            "{name}: the last migration is the schema this program knows"
        );
        let pragma = |p: &str| {
            migrated
                .pragma_query_value(None, p, |r| r.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!((pragma("auto_vacuum"), pragma("page_size")), (2, 8192));
        let mode: String = migrated
            .pragma_query_value(None, "journal_mode", |r| r.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn the_view_for_people_reads_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.store;
    let event = begin(cam("a"), "person");
    store.record(EventChange::Begin(event.clone()), vec![]);
    stored(&store, 1).await;
    store.close().await.unwrap();
    let db = Connection::open(dir.path().join("events.sqlite")).unwrap();
    let (id, state, utc): (String, String, String) = db
        .query_row("SELECT id, state, begin_utc FROM events_readable", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .unwrap();
    assert_eq!((id, state.as_str()), (event.id.0.simple().to_string(), "open"));
    assert_eq!(utc[..19], event.first.stamp.utc.to_rfc3339()[..19]);
}
