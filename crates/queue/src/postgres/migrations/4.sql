-- Workers, as they last told of themselves. Times are milliseconds since 1970, by the database's clock.
CREATE TABLE workers (
    name TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    labels TEXT[] NOT NULL,
    slots BIGINT NOT NULL,
    busy BIGINT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    draining BOOLEAN NOT NULL
);
