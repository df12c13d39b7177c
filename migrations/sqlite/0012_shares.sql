-- Links by which a session is shown to people who have no credential. Of what opens one, its digest alone is kept.

CREATE TABLE shares (
    id         BLOB    NOT NULL PRIMARY KEY,
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    session_id BLOB    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    files      INTEGER NOT NULL,
    digest     BLOB    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    expires_at TEXT    NOT NULL,
    revoked_at TEXT
) STRICT;

CREATE UNIQUE INDEX shares_by_digest ON shares (digest);
CREATE INDEX shares_of_session ON shares (session_id, id);
CREATE INDEX shares_of_tenant ON shares (tenant_id, id);
