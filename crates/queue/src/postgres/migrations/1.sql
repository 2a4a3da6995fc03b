-- The tables of the store on SQLite, in PostgreSQL's types. Ids are whole UUIDs: several processes make them.
CREATE TABLE names (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 of the name, which may be longer than an index can hold
    digest BYTEA NOT NULL UNIQUE,
    name TEXT NOT NULL
);

CREATE TABLE jobs (
    id UUID PRIMARY KEY,
    format BIGINT NOT NULL,
    -- queued, held, running, finishing, succeeded, failed, cancelled, superseded, quarantined
    stage BIGINT NOT NULL,
    -- whether it has ended, and after a run that counts against older changes
    ran BOOLEAN NOT NULL,
    needs_diff BOOLEAN NOT NULL,
    priority INTEGER NOT NULL,
    group_id BIGINT NOT NULL,
    place BIGINT NOT NULL,
    recipe BIGINT NOT NULL,
    config TEXT,
    run BIGINT NOT NULL,
    head BYTEA NOT NULL,
    before BYTEA,
    pushed_at BIGINT,
    not_before BIGINT,
    debounce_since BIGINT,
    created_at BIGINT NOT NULL,
    -- a hook, reconcile, pull, a person
    source BIGINT NOT NULL,
    hook BIGINT,
    guid TEXT,
    sender TEXT,
    labels TEXT[] NOT NULL,
    -- the host that alone can answer for its run
    host TEXT,
    rerun_of UUID,
    superseded_by UUID,
    spec BYTEA NOT NULL,
    -- NULL is that of a job that was queued, and nothing has happened to it
    state BYTEA,
    progress BYTEA
);

-- These three hold what has not ended, or has run: they stay small.
CREATE INDEX jobs_open ON jobs (stage, priority DESC, id) WHERE stage < 4;
CREATE INDEX jobs_rivals ON jobs (group_id, pushed_at) WHERE stage < 4;
CREATE INDEX jobs_ran ON jobs (group_id, pushed_at) WHERE ran;

-- The one key that decides whether a change is known, with its last training.
CREATE TABLE changes (
    place BIGINT NOT NULL,
    head BYTEA NOT NULL,
    recipe BIGINT NOT NULL,
    -- SHA-256 of the path, which may be longer than an index can hold
    config BYTEA NOT NULL,
    job UUID NOT NULL,
    run BIGINT NOT NULL,
    redeliveries BIGINT NOT NULL,
    PRIMARY KEY (place, head, recipe, config)
);

CREATE TABLE leases (
    job UUID PRIMARY KEY,
    worker TEXT NOT NULL,
    until BIGINT NOT NULL,
    lasts BIGINT NOT NULL,
    overdue BOOLEAN NOT NULL
);

CREATE TABLE timeline (
    job UUID NOT NULL,
    line BIGINT NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    stage BIGINT NOT NULL,
    why TEXT,
    PRIMARY KEY (job, line)
);

CREATE TABLE deliveries (
    id UUID PRIMARY KEY,
    format BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    place BIGINT NOT NULL,
    before BYTEA,
    head BYTEA,
    source BIGINT NOT NULL,
    hook BIGINT,
    guid TEXT,
    sender TEXT,
    config BIGINT NOT NULL,
    -- the ids of its jobs, one after the other
    jobs BYTEA,
    verdicts BYTEA NOT NULL,
    path_count BIGINT NOT NULL,
    paths BYTEA
);
-- How a ref moved.
CREATE INDEX deliveries_place ON deliveries (place, id) WHERE head IS NOT NULL;
