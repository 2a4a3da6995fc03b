-- Who has which GPUs: an attempt has them from its start until it is known to have ended. Nothing else ends a lease.
CREATE TABLE gpus (
    machine TEXT NOT NULL,
    uuid TEXT NOT NULL,
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (machine, uuid)
) STRICT, WITHOUT ROWID;
CREATE INDEX gpus_job ON gpus (job);

-- Queued jobs that are known to wait for GPUs.
ALTER TABLE jobs ADD COLUMN waits_for_gpus INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_wait_for_gpus ON jobs (turn) WHERE waits_for_gpus = 1;
