-- Whether a training of the change had begun before the last one, or that one had when its job was removed. Where the ref
-- was before is kept of a job that was removed.
ALTER TABLE changes ADD COLUMN trained INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN before BLOB;
-- Of these nobody can tell any more.
UPDATE changes SET trained = 1 WHERE stage IS NOT NULL OR run > 0;

-- What became of a change that did not train when a push brought it, where another push brought it again, from another
-- commit (`before`, empty for a ref that was new). It answers the one push, and a training answers all.
CREATE TABLE decisions (
    place INTEGER NOT NULL,
    head BLOB NOT NULL,
    recipe INTEGER NOT NULL,
    config TEXT NOT NULL,
    before BLOB NOT NULL,
    job INTEGER NOT NULL,
    rest INTEGER NOT NULL,
    run INTEGER NOT NULL,
    redeliveries INTEGER NOT NULL,
    stage INTEGER,
    source INTEGER,
    hook INTEGER,
    guid TEXT,
    trained INTEGER NOT NULL,
    PRIMARY KEY (place, head, recipe, config, before)
) STRICT, WITHOUT ROWID;

-- The ids of the jobs among those of a delivery that were known before it; NULL where that was not kept.
ALTER TABLE deliveries ADD COLUMN known BLOB;
