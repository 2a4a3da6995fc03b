-- Whether a training of the change had begun before the last one, or that one had when its job was removed. Where the ref
-- was before is kept of a job that was removed.
ALTER TABLE changes ADD COLUMN trained BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE changes ADD COLUMN before BYTEA;
-- Of these nobody can tell any more.
UPDATE changes SET trained = TRUE WHERE stage IS NOT NULL OR run > 0;

-- What became of a change that did not train when a push brought it, where another push brought it again, from another
-- commit (`before`, empty for a ref that was new). It answers the one push, and a training answers all.
CREATE TABLE decisions (
    place BIGINT NOT NULL,
    head BYTEA NOT NULL,
    recipe BIGINT NOT NULL,
    -- SHA-256 of the path
    config BYTEA NOT NULL,
    before BYTEA NOT NULL,
    job UUID NOT NULL,
    run BIGINT NOT NULL,
    redeliveries BIGINT NOT NULL,
    stage BIGINT,
    source BIGINT,
    hook BIGINT,
    guid TEXT,
    trained BOOLEAN NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (place, head, recipe, config, before)
);

-- The ids of the jobs among those of a delivery that were known before it; NULL where that was not kept.
ALTER TABLE deliveries ADD COLUMN known BYTEA;
