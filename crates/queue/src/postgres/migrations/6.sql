-- The end of a run's log, for when its file is elsewhere or gone. `length` is that of the whole.
CREATE TABLE logs (
    job UUID NOT NULL,
    attempt BIGINT NOT NULL,
    host TEXT NOT NULL,
    file TEXT NOT NULL,
    length BIGINT NOT NULL,
    tail TEXT NOT NULL,
    PRIMARY KEY (job, attempt)
);
