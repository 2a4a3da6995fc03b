-- Names that many rows share: places (`acme/models refs/heads/main`), recipes, groups, hooks, configurations.
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- `id` and `rest` are the two halves of a UUIDv7: the first is unique and grows, so it is the key, and no index of
-- its own is paid by every push. `format` is the version of the blobs of a row.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    rest INTEGER NOT NULL,
    format INTEGER NOT NULL,
    -- queued, held, running, finishing, succeeded, failed, cancelled, superseded, quarantined
    stage INTEGER NOT NULL,
    -- whether it has ended, and after a run that counts against older changes
    ran INTEGER NOT NULL,
    needs_diff INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    place INTEGER NOT NULL,
    recipe INTEGER NOT NULL,
    config TEXT,
    run INTEGER NOT NULL,
    head BLOB NOT NULL,
    before BLOB,
    pushed_at INTEGER,
    not_before INTEGER,
    debounce_since INTEGER,
    created_at INTEGER NOT NULL,
    -- a hook, reconcile, pull, a person
    source INTEGER NOT NULL,
    hook INTEGER,
    guid TEXT,
    sender TEXT,
    labels TEXT,
    -- the host that alone can answer for its run
    host TEXT,
    rerun_of BLOB,
    superseded_by BLOB,
    spec BLOB NOT NULL,
    -- NULL is that of a job that was queued, and nothing has happened to it
    state BLOB,
    progress BLOB
) STRICT;

-- These three hold what has not ended, or has run: they stay small, and who has done his work does not slow
-- down who waits.
CREATE INDEX jobs_open ON jobs (stage, priority DESC) WHERE stage < 4;
CREATE INDEX jobs_rivals ON jobs (group_id, pushed_at) WHERE stage < 4;
CREATE INDEX jobs_ran ON jobs (group_id, pushed_at) WHERE ran = 1;

-- The one key that decides whether a change is known, with its last training.
CREATE TABLE changes (
    place INTEGER NOT NULL,
    head BLOB NOT NULL,
    recipe INTEGER NOT NULL,
    config TEXT NOT NULL,
    job INTEGER NOT NULL,
    rest INTEGER NOT NULL,
    run INTEGER NOT NULL,
    redeliveries INTEGER NOT NULL,
    PRIMARY KEY (place, head, recipe, config)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    job INTEGER PRIMARY KEY,
    worker TEXT NOT NULL,
    until INTEGER NOT NULL,
    lasts INTEGER NOT NULL,
    overdue INTEGER NOT NULL
) STRICT;

CREATE TABLE timeline (
    job INTEGER NOT NULL,
    line INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    stage INTEGER NOT NULL,
    why TEXT,
    PRIMARY KEY (job, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    rest INTEGER NOT NULL,
    format INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    place INTEGER NOT NULL,
    before BLOB,
    head BLOB,
    source INTEGER NOT NULL,
    hook INTEGER,
    guid TEXT,
    sender TEXT,
    config INTEGER NOT NULL,
    -- the ids of its jobs, one after the other
    jobs BLOB,
    verdicts BLOB NOT NULL,
    path_count INTEGER NOT NULL,
    paths BLOB
) STRICT;
