-- Jobs that a person gave up while their runs could not be reached: whoever is on their machine ends what is left.
ALTER TABLE jobs ADD COLUMN given_up BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX jobs_given_up ON jobs (id) WHERE given_up;
