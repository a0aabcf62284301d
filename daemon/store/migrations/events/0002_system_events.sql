-- Additive: programs of schema 1 read the rest as before.
CREATE TABLE system_events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    type TEXT NOT NULL,
    stream TEXT,
    boot_id BLOB NOT NULL CHECK (length(boot_id) = 16),
    mono_ns INTEGER NOT NULL,
    map INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL,
    error_ns INTEGER,
    facts TEXT NOT NULL,
    untold INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX system_events_by_stream ON system_events (stream, id);
CREATE INDEX system_events_by_utc ON system_events (utc_ns);

ALTER TABLE clock_maps ADD COLUMN mono_ns INTEGER;

UPDATE meta SET value = '2' WHERE key = 'schema';
