-- The agent's outbox: what was measured and is not yet known to be stored by the collector.
-- One connection of one thread reads and writes it; see edge_agent/outbox/store.py.
-- PRAGMA user_version holds the version of this schema; edge_agent/outbox/file.py sets it with the other pragmas.

-- A stream is a row of generations. Records go into the newest one; older ones are sent until they are empty.
-- Within a generation entries have positions, from 1 on. A sequence number is position - base, so that a new epoch
-- can begin in the middle of a generation without moving its entries.
CREATE TABLE generations (
    no INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    epoch TEXT NOT NULL UNIQUE,
    base INTEGER NOT NULL,
    acked INTEGER NOT NULL,         -- the collector has everything up to here, and nothing up to here is kept
    opened INTEGER                  -- last position when first opened after the last contact; NULL: in contact
);

-- What waits: records, and tombstones in the place of lost ones. Within a generation they follow each other without
-- a hole from acked + 1 on. The key holds generation and position in one integer (no << 40 | position), so that rows
-- are appended to a rowid table and no second index has to be written.
CREATE TABLE entries (
    key INTEGER PRIMARY KEY,
    covers INTEGER,                 -- NULL: a record. n: a tombstone for the n records that end here
    kind TEXT,                      -- the record's kind; a tombstone has none
    boot INTEGER NOT NULL,          -- when it happened: boot, CLOCK_BOOTTIME, and the wall clock if it was synchronised
    boottime_ms INTEGER NOT NULL,
    wall_ms INTEGER,
    tail BLOB NOT NULL              -- the record's JSON after at_error_ms; a tombstone's reason, begin and tally
);

CREATE TABLE boots (
    no INTEGER PRIMARY KEY,         -- in order of time
    boot_id TEXT NOT NULL UNIQUE,
    last_ms INTEGER NOT NULL        -- CLOCK_BOOTTIME up to which this boot is known to have run
);

CREATE TABLE anchors (
    boot INTEGER NOT NULL,
    boottime_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    error_ms INTEGER NOT NULL,
    source TEXT NOT NULL
);

-- Records that the collector put aside, or that could not be sent. The newest few, for a technician to look at.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
