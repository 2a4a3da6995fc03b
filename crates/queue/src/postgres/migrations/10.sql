-- What a run has in common with others that tell how much memory it needs on its GPUs.
ALTER TABLE jobs ADD COLUMN workload BYTEA;
CREATE INDEX jobs_workload ON jobs (workload, id) WHERE workload IS NOT NULL;
