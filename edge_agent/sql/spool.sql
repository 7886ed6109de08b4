-- What the lights recorded and the agent has not taken yet. One connection of one thread; see
-- edge_agent/link/spool_file.py. PRAGMA user_version holds the version of this schema.

CREATE TABLE spool (
    name TEXT NOT NULL,             -- numbers count within it; a new one begins when they could be given out twice
    base INTEGER NOT NULL,          -- a number on the link is no - base
    taken INTEGER NOT NULL          -- the agent has everything up to this no, and nothing up to it is kept
);

CREATE TABLE boots (
    no INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL UNIQUE
);

CREATE TABLE records (
    no INTEGER PRIMARY KEY,
    covers INTEGER NOT NULL,        -- it accounts for so many numbers that end with its own
    kind TEXT NOT NULL,             -- the record's kind; `lost` stands for some that had to be dropped
    boot INTEGER NOT NULL,
    boottime_ns INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    synced INTEGER NOT NULL,
    body BLOB NOT NULL              -- the record's JSON; of `lost` what was dropped, and why
);
