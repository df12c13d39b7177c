-- What tenants' sessions may ask for and how much, as JSON; and how often things are done, where servers count together.

ALTER TABLE tenants ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';

CREATE TABLE rate_buckets (
    name    TEXT NOT NULL PRIMARY KEY,
    -- When it is full, in microseconds since 1970.
    full_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_buckets_by_time ON rate_buckets (full_at);
