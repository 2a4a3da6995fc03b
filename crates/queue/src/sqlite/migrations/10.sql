-- Where the refs of repositories stood when somebody last looked, by the names of the repositories.
CREATE TABLE tips (
    repository TEXT PRIMARY KEY,
    tips BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- How a ref moved.
CREATE INDEX deliveries_place ON deliveries (place) WHERE head IS NOT NULL;

-- Who has which ports of a machine, by which the processes of an attempt find each other.
CREATE TABLE ports (
    machine TEXT NOT NULL,
    port INTEGER NOT NULL,
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (machine, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX ports_job ON ports (job);
