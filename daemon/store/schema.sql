-- events.sqlite: events, their pictures and the outbox. This file is the document; migrations/events/ leads to
-- exactly this, which a test holds. Written with synchronous=FULL: what is committed survives a power cut.
--
-- Times: `mono_ns` is CLOCK_MONOTONIC of the boot `boot_id`, `utc_ns` is nanoseconds since 1970 (POSIX) by clock
-- map `map`. The truth lies in mono_ns ± rel_error_ns and in utc_ns ± error_ns; error_ns is NULL while the box's
-- clock is not synchronised. A better clock map can be applied later: that is what `clock_maps` is for.
-- A frame is named by (stream, epoch, media_us). Boxes are fractions of the picture, scores lie in 0 to 1.

-- `schema` is this file's version. A program reads the file if `min_reader` is not above the schema it knows.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the box knew of UTC: utc = mono + utc_minus_mono, by boot and version.
CREATE TABLE clock_maps (
    boot_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    utc_minus_mono_ns INTEGER NOT NULL,
    error_ns INTEGER, -- NULL: not synchronised
    mono_ns INTEGER, -- when it was found; NULL: by a program of schema 1
    PRIMARY KEY (boot_id, version)
) STRICT, WITHOUT ROWID;

-- One row an event, written when it begins. Three sightings: the first (begin), the newest known (last; the end
-- once it has ended) and the one in the best picture (best; the first until a picture came).
CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16), -- UUIDv7: sorts by time
    stream TEXT NOT NULL,
    track INTEGER NOT NULL,
    label TEXT NOT NULL,
    detector TEXT NOT NULL,
    boot_id BLOB NOT NULL CHECK (length(boot_id) = 16), -- an event lies within one boot
    state TEXT GENERATED ALWAYS AS (CASE WHEN ended_by IS NULL THEN 'open' ELSE 'ended' END) VIRTUAL,
    ended_by TEXT, -- lost, camera_lost, shutdown, restart; NULL while it lasts
    sightings INTEGER NOT NULL, -- frames it was seen in; a lower limit while it lasts
    changes INTEGER NOT NULL, -- changes stored: begin, each better picture, end

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

-- What happened to the cameras and to the box itself: written once, never changed.
CREATE TABLE system_events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16), -- UUIDv7: sorts by time, also among events
    type TEXT NOT NULL, -- camera_online, camera_offline, time_source, camera_clock_step, box_clock_step
    stream TEXT, -- the camera; NULL: the box itself
    boot_id BLOB NOT NULL CHECK (length(boot_id) = 16),
    mono_ns INTEGER NOT NULL, -- when it happened
    map INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL,
    error_ns INTEGER, -- NULL: the box's clock was not synchronised
    facts TEXT NOT NULL, -- JSON object: type, and what belongs to it; spans in nanoseconds
    untold INTEGER NOT NULL -- changes of this kind since the last event that were too short or too many to be told
) STRICT, WITHOUT ROWID;
CREATE INDEX system_events_by_stream ON system_events (stream, id);
CREATE INDEX system_events_by_utc ON system_events (utc_ns);

-- The best picture of an event. The JPEG comes last, so that reading the rest never touches its pages.
CREATE TABLE event_pictures (
    event_id BLOB NOT NULL PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    bytes INTEGER NOT NULL,
    jpeg BLOB NOT NULL
) STRICT;

-- Messages that have not left the box, in the order they are sent. A row goes when the broker has taken it.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16), -- receivers drop repeats by it
    event_id BLOB NOT NULL, -- the event it tells of, which is kept until the row has left
    topic TEXT NOT NULL,
    properties TEXT NOT NULL, -- MQTT 5 user properties: JSON list of [name, value]
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_by_event ON outbox (event_id);

-- How far each spill file has been taken over, in bytes: no change is replayed twice after a crash.
CREATE TABLE spill (
    segment INTEGER NOT NULL PRIMARY KEY,
    done INTEGER NOT NULL
) STRICT;

-- For people with the sqlite3 shell.
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

INSERT INTO meta (key, value) VALUES ('schema', '2'), ('min_reader', '1');
