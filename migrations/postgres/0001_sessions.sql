-- Tenants, sessions, turns, and the log of events.
--
-- JSON is kept as text, since JSONB cannot hold every string that JSON can. An event's id is its epoch shifted left by
-- 32 bits, plus its number in the epoch. Text that is sorted or searched is compared byte by byte.

CREATE TABLE tenants (
    id         UUID        NOT NULL PRIMARY KEY,
    name       TEXT        NOT NULL UNIQUE COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE sessions (
    id                   UUID        NOT NULL PRIMARY KEY,
    tenant_id            UUID        NOT NULL REFERENCES tenants (id),
    user_id              TEXT        NOT NULL COLLATE "C",
    subdir               TEXT,
    title                TEXT,
    metadata             TEXT        NOT NULL,
    options              TEXT        NOT NULL,
    claude_session_id    UUID        NOT NULL,
    conversation_started BOOLEAN     NOT NULL,
    status               TEXT        NOT NULL COLLATE "C",
    message_count        BIGINT      NOT NULL,
    -- Raised each time the session's ownership is taken; a write under an older one is refused.
    epoch                BIGINT      NOT NULL DEFAULT 0,
    last_event_id        BIGINT      NOT NULL DEFAULT 0,
    created_at           TIMESTAMPTZ NOT NULL,
    last_active_at       TIMESTAMPTZ NOT NULL,
    closed_at            TIMESTAMPTZ
);

CREATE INDEX sessions_newest ON sessions (tenant_id, id);
CREATE INDEX sessions_newest_by_status ON sessions (tenant_id, status, id);
CREATE INDEX sessions_newest_of_user ON sessions (tenant_id, user_id, id);
CREATE INDEX sessions_status ON sessions (status);

CREATE TABLE turns (
    id         UUID        NOT NULL PRIMARY KEY,
    session_id UUID        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    message    TEXT        NOT NULL,
    status     TEXT        NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    -- How it ended; null while it runs.
    outcome    TEXT
);

CREATE INDEX turns_of_session ON turns (session_id, id);
-- At most one turn of a session runs.
CREATE UNIQUE INDEX turns_unfinished ON turns (session_id) WHERE outcome IS NULL;

CREATE TABLE events (
    session_id UUID        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    id         BIGINT      NOT NULL,
    turn_id    UUID,
    kind       TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    body       TEXT        NOT NULL,
    PRIMARY KEY (session_id, id)
);
