-- The first schema of detections.sqlite; schema-detections.sql explains it. Never edit a migration that has shipped.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE detections (
    stream TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    media_us INTEGER NOT NULL,
    detector TEXT NOT NULL,
    boot_id BLOB NOT NULL CHECK (length(boot_id) = 16),
    mono_ns INTEGER NOT NULL,
    rel_error_ns INTEGER NOT NULL,
    source TEXT NOT NULL,
    map INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL,
    error_ns INTEGER,
    detections TEXT NOT NULL,
    PRIMARY KEY (stream, epoch, media_us, detector)
) STRICT, WITHOUT ROWID;
CREATE INDEX detections_by_utc ON detections (utc_ns);

INSERT INTO meta (key, value) VALUES ('schema', '1'), ('min_reader', '1');
