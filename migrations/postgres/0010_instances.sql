-- The instances of the server that share this database, and with which of them sessions are. An instance lives as long as
-- it says so; by the database's clock, which is the same for all.

CREATE TABLE instances (
    id          UUID        NOT NULL PRIMARY KEY,
    name        TEXT        NOT NULL,
    url         TEXT        NOT NULL,
    joined_at   TIMESTAMPTZ NOT NULL,
    alive_until TIMESTAMPTZ NOT NULL
);

DROP INDEX sessions_leased;
ALTER TABLE sessions DROP COLUMN lease_owner;
ALTER TABLE sessions DROP COLUMN lease_until;
ALTER TABLE sessions ADD COLUMN instance_id UUID;
CREATE INDEX sessions_of_instances ON sessions (instance_id) WHERE instance_id IS NOT NULL;
