-- Where the refs of repositories stood when somebody last looked, by the names of the repositories.
CREATE TABLE tips (
    repository TEXT PRIMARY KEY,
    tips BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- How a ref moved.
CREATE INDEX deliveries_place ON deliveries (place) WHERE head IS NOT NULL;
