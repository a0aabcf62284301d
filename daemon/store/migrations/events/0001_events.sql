-- The first schema of events.sqlite; schema.sql explains it. Never edit a migration that has shipped.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE clock_maps (
    boot_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    utc_minus_mono_ns INTEGER NOT NULL,
    error_ns INTEGER,
    PRIMARY KEY (boot_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    stream TEXT NOT NULL,
    track INTEGER NOT NULL,
    label TEXT NOT NULL,
    detector TEXT NOT NULL,
    boot_id BLOB NOT NULL CHECK (length(boot_id) = 16),
    state TEXT GENERATED ALWAYS AS (CASE WHEN ended_by IS NULL THEN 'open' ELSE 'ended' END) VIRTUAL,
    ended_by TEXT,
    sightings INTEGER NOT NULL,
    changes INTEGER NOT NULL,

    begin_epoch INTEGER NOT NULL,
    begin_media_us INTEGER NOT NULL,
    begin_mono_ns INTEGER NOT NULL,
    begin_rel_error_ns INTEGER NOT NULL,
    begin_source TEXT NOT NULL,
    begin_map INTEGER NOT NULL,
    begin_utc_ns INTEGER NOT NULL,
    begin_error_ns INTEGER,
    begin_x REAL NOT NULL,
    begin_y REAL NOT NULL,
    begin_w REAL NOT NULL,
    begin_h REAL NOT NULL,
    begin_score REAL NOT NULL,

    last_epoch INTEGER NOT NULL,
    last_media_us INTEGER NOT NULL,
    last_mono_ns INTEGER NOT NULL,
    last_rel_error_ns INTEGER NOT NULL,
    last_source TEXT NOT NULL,
    last_map INTEGER NOT NULL,
    last_utc_ns INTEGER NOT NULL,
    last_error_ns INTEGER,
    last_x REAL NOT NULL,
    last_y REAL NOT NULL,
    last_w REAL NOT NULL,
    last_h REAL NOT NULL,
    last_score REAL NOT NULL,

    best_epoch INTEGER NOT NULL,
    best_media_us INTEGER NOT NULL,
    best_mono_ns INTEGER NOT NULL,
    best_rel_error_ns INTEGER NOT NULL,
    best_source TEXT NOT NULL,
    best_map INTEGER NOT NULL,
    best_utc_ns INTEGER NOT NULL,
    best_error_ns INTEGER,
    best_x REAL NOT NULL,
    best_y REAL NOT NULL,
    best_w REAL NOT NULL,
    best_h REAL NOT NULL,
    best_score REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_stream ON events (stream, id);
CREATE INDEX events_by_begin ON events (begin_utc_ns);
CREATE INDEX events_by_last ON events (last_utc_ns);
CREATE INDEX events_open ON events (id) WHERE ended_by IS NULL;

CREATE TABLE event_pictures (
    event_id BLOB NOT NULL PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    bytes INTEGER NOT NULL,
    jpeg BLOB NOT NULL
) STRICT;

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    event_id BLOB NOT NULL,
    topic TEXT NOT NULL,
    properties TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_by_event ON outbox (event_id);

CREATE TABLE spill (
    segment INTEGER NOT NULL PRIMARY KEY,
    done INTEGER NOT NULL
) STRICT;

CREATE VIEW events_readable AS
SELECT
    lower(hex(id)) AS id,
    stream,
    label,
    round(best_score, 2) AS score,
    state,
    strftime('%Y-%m-%dT%H:%M:%fZ', begin_utc_ns / 1e9, 'unixepoch') AS begin_utc,
    round((last_utc_ns - begin_utc_ns) / 1e9, 2) AS seconds,
    round(begin_error_ns / 1e6, 1) AS error_ms,
    begin_source AS time_source,
    ended_by
FROM events
ORDER BY events.id DESC;

INSERT INTO meta (key, value) VALUES ('schema', '1'), ('min_reader', '1');
