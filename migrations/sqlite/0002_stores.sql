-- Everything else that is kept: how titles and metadata are found, leases, transcripts, permissions, keys, the ledger
-- of usage, requests that must not be done twice, and secrets that all instances share.

-- The log no longer refers to its session: the rows of a removed session are freed later, a few at a time.
CREATE TABLE events_2 (
    session_id BLOB    NOT NULL,
    id         INTEGER NOT NULL,
    turn_id    BLOB,
    kind       TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO events_2 SELECT session_id, id, turn_id, kind, created_at, body FROM events;
DROP TABLE events;
ALTER TABLE events_2 RENAME TO events;

-- Pieces of messages: one row holds those between two whole events, under the id of the last.
CREATE INDEX events_deltas ON events (created_at) WHERE kind = 'deltas';

-- Sessions whose row is gone and whose log and transcript are yet to be freed.
CREATE TABLE removed_sessions (
    session_id BLOB NOT NULL PRIMARY KEY
) STRICT;

-- The last id is the log's own.
ALTER TABLE sessions DROP COLUMN last_event_id;
-- With which instance the session is, and until when.
ALTER TABLE sessions ADD COLUMN lease_owner TEXT;
ALTER TABLE sessions ADD COLUMN lease_until TEXT;
-- No event of the session is older; null while it has none.
ALTER TABLE sessions ADD COLUMN log_from TEXT;
UPDATE sessions SET log_from = created_at;

DROP INDEX sessions_status;
CREATE INDEX sessions_by_use ON sessions (status, last_active_at);
CREATE INDEX sessions_unused ON sessions (last_active_at);
CREATE INDEX sessions_log_from ON sessions (tenant_id, log_from);
CREATE INDEX sessions_leased ON sessions (lease_owner) WHERE lease_owner IS NOT NULL;

-- What sessions are found by: the words of their titles, and the values of their metadata.
CREATE TABLE session_terms (
    tenant_id  BLOB NOT NULL,
    term       TEXT NOT NULL,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, term, session_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_terms_of_session ON session_terms (session_id);

-- The lines of what the CLI writes down, verbatim.
CREATE TABLE transcript_entries (
    session_id BLOB NOT NULL,
    path       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    uuid       BLOB,
    body       TEXT NOT NULL,
    PRIMARY KEY (session_id, path, position)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX transcript_entries_once ON transcript_entries (session_id, path, uuid) WHERE uuid IS NOT NULL;

CREATE TABLE permissions (
    id          BLOB NOT NULL PRIMARY KEY,
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    session_id  BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL,
    expires_at  TEXT NOT NULL,
    -- The question, as a whole.
    question    TEXT NOT NULL,
    -- The answer; null while it waits.
    resolution  TEXT
) STRICT;

CREATE INDEX permissions_of_session ON permissions (session_id);
CREATE INDEX permissions_of_tenant ON permissions (tenant_id, id);
CREATE INDEX permissions_pending ON permissions (tenant_id, id) WHERE resolution IS NULL;
CREATE INDEX permissions_pending_of_session ON permissions (tenant_id, session_id, id) WHERE resolution IS NULL;
CREATE INDEX permissions_pending_of_user ON permissions (tenant_id, user_id, id) WHERE resolution IS NULL;
CREATE INDEX permissions_to_expire ON permissions (expires_at) WHERE resolution IS NULL;

CREATE TABLE api_keys (
    id           BLOB NOT NULL PRIMARY KEY,
    tenant_id    BLOB NOT NULL REFERENCES tenants (id),
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    user_id      TEXT,
    -- SHA-256. The key itself is kept nowhere.
    digest       BLOB NOT NULL UNIQUE,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    revoked_at   TEXT,
    last_used_at TEXT
) STRICT;

CREATE INDEX api_keys_newest ON api_keys (tenant_id, id);
CREATE UNIQUE INDEX api_keys_living_name ON api_keys (tenant_id, name) WHERE revoked_at IS NULL;

-- One entry a turn and model. It outlives its session.
CREATE TABLE usage_records (
    turn_id                     BLOB NOT NULL,
    model                       TEXT NOT NULL,
    tenant_id                   BLOB NOT NULL REFERENCES tenants (id),
    session_id                  BLOB NOT NULL,
    user_id                     TEXT NOT NULL,
    -- In UTC, as 2026-11-21.
    day                         TEXT NOT NULL,
    at                          TEXT NOT NULL,
    input_tokens                INTEGER NOT NULL,
    output_tokens               INTEGER NOT NULL,
    cache_read_input_tokens     INTEGER NOT NULL,
    cache_creation_input_tokens INTEGER NOT NULL,
    cost_micro_usd              INTEGER NOT NULL,
    PRIMARY KEY (turn_id, model)
) STRICT;

CREATE INDEX usage_records_in_order ON usage_records (tenant_id, turn_id, model);
CREATE INDEX usage_records_by_time ON usage_records (tenant_id, at);
CREATE INDEX usage_records_of_user ON usage_records (tenant_id, user_id, at);
CREATE INDEX usage_records_of_session ON usage_records (tenant_id, session_id, at);

-- Requests by the keys that clients gave them.
CREATE TABLE requests (
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    key         TEXT NOT NULL,
    -- SHA-256 of what was asked.
    fingerprint BLOB NOT NULL,
    began_at    TEXT NOT NULL,
    -- Null while it is being done.
    answer      BLOB,
    PRIMARY KEY (tenant_id, key)
) STRICT;

CREATE INDEX requests_by_time ON requests (began_at);

CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
