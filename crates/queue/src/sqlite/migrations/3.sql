-- What is asked of a delivery again when it is replayed: with `facts` NULL it was recorded before that was kept.
ALTER TABLE deliveries ADD COLUMN pushed_at INTEGER;
ALTER TABLE deliveries ADD COLUMN facts INTEGER;

-- The end of the last training of a change, once its job was removed for its age: what decides whether the change
-- may train again outlives the job.
ALTER TABLE changes ADD COLUMN stage INTEGER;
ALTER TABLE changes ADD COLUMN source INTEGER;
ALTER TABLE changes ADD COLUMN hook INTEGER;
ALTER TABLE changes ADD COLUMN guid TEXT;

-- By this and by the indexes below any list of jobs is read from its newest on. What has ended is never touched by
-- who enqueues.
ALTER TABLE jobs ADD COLUMN repository INTEGER;
INSERT OR IGNORE INTO names (name)
    SELECT DISTINCT substr(p.name, 1, instr(p.name, ' ') - 1) FROM names p
    WHERE p.id IN (SELECT DISTINCT place FROM jobs) AND instr(p.name, ' ') > 0;
UPDATE jobs SET repository = (
    SELECT r.id FROM names p JOIN names r ON r.name = substr(p.name, 1, instr(p.name, ' ') - 1)
    WHERE p.id = jobs.place);
CREATE INDEX jobs_ended ON jobs (stage) WHERE stage >= 4;
CREATE INDEX jobs_ended_recipe ON jobs (recipe, stage) WHERE stage >= 4;
CREATE INDEX jobs_ended_repository ON jobs (repository, stage) WHERE stage >= 4;
