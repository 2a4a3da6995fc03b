-- What is asked of a delivery again when it is replayed: with `facts` NULL it was recorded before that was kept.
ALTER TABLE deliveries ADD COLUMN pushed_at BIGINT;
ALTER TABLE deliveries ADD COLUMN facts BIGINT;

-- The end of the last training of a change, once its job was removed for its age: what decides whether the change
-- may train again outlives the job.
ALTER TABLE changes ADD COLUMN stage BIGINT;
ALTER TABLE changes ADD COLUMN source BIGINT;
ALTER TABLE changes ADD COLUMN hook BIGINT;
ALTER TABLE changes ADD COLUMN guid TEXT;

-- By this and by the indexes below any list of jobs is read from its newest on. What has ended is never touched by
-- who enqueues.
ALTER TABLE jobs ADD COLUMN repository BIGINT;
INSERT INTO names (digest, name)
    SELECT sha256(convert_to(r.name, 'UTF8')), r.name FROM (
        SELECT DISTINCT split_part(p.name, ' ', 1) AS name FROM names p
        WHERE p.id IN (SELECT DISTINCT place FROM jobs)) r
    ON CONFLICT (digest) DO NOTHING;
UPDATE jobs SET repository = r.id FROM names p, names r
    WHERE p.id = jobs.place AND r.digest = sha256(convert_to(split_part(p.name, ' ', 1), 'UTF8'));
CREATE INDEX jobs_ended ON jobs (stage, id) WHERE stage >= 4;
CREATE INDEX jobs_ended_recipe ON jobs (recipe, stage, id) WHERE stage >= 4;
CREATE INDEX jobs_ended_repository ON jobs (repository, stage, id) WHERE stage >= 4;
