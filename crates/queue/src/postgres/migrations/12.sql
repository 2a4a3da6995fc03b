-- Where the refs of repositories stood when somebody last looked, by the names of the repositories.
CREATE TABLE tips (
    repository TEXT PRIMARY KEY,
    tips BYTEA NOT NULL
);
