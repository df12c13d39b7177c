-- Tenants, sessions, turns, and the log of events.
--
-- Ids are UUIDs, times RFC 3339 text with microseconds, JSON is text. An event's id is its epoch shifted left by 32
-- bits, plus its number in the epoch.

CREATE TABLE tenants (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE sessions (
    id                   BLOB    NOT NULL PRIMARY KEY,
    tenant_id            BLOB    NOT NULL REFERENCES tenants (id),
    user_id              TEXT    NOT NULL,
    subdir               TEXT,
    title                TEXT,
    metadata             TEXT    NOT NULL,
    options              TEXT    NOT NULL,
    claude_session_id    BLOB    NOT NULL,
    conversation_started INTEGER NOT NULL,
    status               TEXT    NOT NULL,
    message_count        INTEGER NOT NULL,
    -- Raised each time the session's ownership is taken; a write under an older one is refused.
    epoch                INTEGER NOT NULL DEFAULT 0,
    last_event_id        INTEGER NOT NULL DEFAULT 0,
    created_at           TEXT    NOT NULL,
    last_active_at       TEXT    NOT NULL,
    closed_at            TEXT
) STRICT;

CREATE INDEX sessions_newest ON sessions (tenant_id, id);
CREATE INDEX sessions_newest_by_status ON sessions (tenant_id, status, id);
CREATE INDEX sessions_newest_of_user ON sessions (tenant_id, user_id, id);
CREATE INDEX sessions_status ON sessions (status);

CREATE TABLE turns (
    id         BLOB NOT NULL PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    message    TEXT NOT NULL,
    status     TEXT NOT NULL,
    started_at TEXT NOT NULL,
    -- How it ended; null while it runs.
    outcome    TEXT
) STRICT;

CREATE INDEX turns_of_session ON turns (session_id, id);
-- At most one turn of a session runs.
CREATE UNIQUE INDEX turns_unfinished ON turns (session_id) WHERE outcome IS NULL;

CREATE TABLE events (
    session_id BLOB    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    id         INTEGER NOT NULL,
    turn_id    BLOB,
    kind       TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;
