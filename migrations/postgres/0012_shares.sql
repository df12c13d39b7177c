-- Links by which a session is shown to people who have no credential. Of what opens one, its digest alone is kept.

CREATE TABLE shares (
    id         UUID    NOT NULL PRIMARY KEY,
    tenant_id  UUID    NOT NULL REFERENCES tenants (id),
    session_id UUID    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    files      BOOLEAN NOT NULL,
    digest     BYTEA   NOT NULL,
    created_by TEXT    NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ
);

CREATE UNIQUE INDEX shares_by_digest ON shares (digest);
CREATE INDEX shares_of_session ON shares (session_id, id);
CREATE INDEX shares_of_tenant ON shares (tenant_id, id);
