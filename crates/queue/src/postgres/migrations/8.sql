-- What would run, or ran: so that what has failed by itself before is known.
ALTER TABLE jobs ADD COLUMN fingerprint BYTEA;
CREATE INDEX jobs_fingerprint ON jobs (fingerprint, id) WHERE fingerprint IS NOT NULL;
