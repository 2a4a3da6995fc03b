-- When it is a job's turn: its place among those that wait, by priority and age. What has ended waits no more.
ALTER TABLE jobs ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET turn = created_at - priority::bigint * 3600000 WHERE stage < 4;
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (stage, turn, id) WHERE stage < 4;
