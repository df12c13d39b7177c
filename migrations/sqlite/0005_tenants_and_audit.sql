-- Tenants that are suspended, keys that are bound to networks, and the audit.

ALTER TABLE tenants ADD COLUMN suspended_at TEXT;

-- A list of networks as JSON; any when empty.
ALTER TABLE api_keys ADD COLUMN networks TEXT NOT NULL DEFAULT '[]';

-- Each entry's hash covers the one before; the text is what was hashed, verbatim.
CREATE TABLE audit_entries (
    number    INTEGER NOT NULL PRIMARY KEY,
    tenant_id BLOB,
    text      TEXT    NOT NULL,
    hash      BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_entries_of_tenant ON audit_entries (tenant_id, number);

-- The last entry: one row, which whoever appends locks.
CREATE TABLE audit_head (
    id     INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    hash   BLOB    NOT NULL
) STRICT;

INSERT INTO audit_head (id, number, hash) VALUES (1, 0, zeroblob(32));
