-- Where the refs of repositories stood when somebody last looked, by the names of the repositories.
CREATE TABLE tips (
    repository TEXT PRIMARY KEY,
    tips BYTEA NOT NULL
);

-- Who has which ports of a machine, by which the processes of an attempt find each other.
CREATE TABLE ports (
    machine TEXT NOT NULL,
    port BIGINT NOT NULL,
    job UUID NOT NULL,
    attempt BIGINT NOT NULL,
    PRIMARY KEY (machine, port)
);
CREATE INDEX ports_job ON ports (job);
