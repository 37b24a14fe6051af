-- One small row a log: all that an append, a claim or a renewal reads and writes.
CREATE TABLE logs (
    log     INTEGER PRIMARY KEY,        -- the number its records carry
    kind    INTEGER NOT NULL,           -- 1 a run's log, 2 a stream's, 3 a token's
    name    TEXT    NOT NULL,           -- the run or the token
    stream  TEXT    NOT NULL,           -- the stream; '' for none
    head    INTEGER NOT NULL,           -- the last position
    base    INTEGER NOT NULL,           -- the position before the first that is kept
    state   INTEGER NOT NULL,           -- 0 open, 1 closed, 2 deleted
    last    INTEGER NOT NULL,           -- the kind of a run's last record
    attempt INTEGER NOT NULL,           -- claims since the last progress or rest
    queue   TEXT,                       -- where workers look for a run
    due     INTEGER,                    -- 1 ready, 2 at a time; NULL parked, or no run
    at      INTEGER,                    -- since when ready, or from when due, or when the lease runs out
    ticket  BLOB                        -- of the lease; NULL while nobody has one
) STRICT;
CREATE UNIQUE INDEX logs_by_name ON logs (name, kind, stream);
CREATE INDEX logs_due ON logs (queue, due, at) WHERE due IS NOT NULL;

-- What a run was created with and an append need not see.
CREATE TABLE runs (
    log      INTEGER PRIMARY KEY,
    workflow TEXT    NOT NULL,
    parent   TEXT,
    created  INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    tags     BLOB    NOT NULL           -- 16 bytes each, in order
) STRICT;

-- The same tags, to find runs by.
CREATE TABLE tags (
    tag BLOB    NOT NULL,
    log INTEGER NOT NULL,
    PRIMARY KEY (tag, log)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    log      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    at       INTEGER NOT NULL,          -- milliseconds since 1970
    body     BLOB    NOT NULL,          -- sealed
    PRIMARY KEY (log, position)
) STRICT, WITHOUT ROWID;
