-- Tenants that are suspended, keys that are bound to networks, and the audit.

ALTER TABLE tenants ADD COLUMN suspended_at TIMESTAMPTZ;

-- A list of networks as JSON; any when empty.
ALTER TABLE api_keys ADD COLUMN networks TEXT NOT NULL DEFAULT '[]';

-- Each entry's hash covers the one before; the text is what was hashed, verbatim.
CREATE TABLE audit_entries (
    number    BIGINT NOT NULL PRIMARY KEY,
    tenant_id UUID,
    text      TEXT   NOT NULL,
    hash      BYTEA  NOT NULL
);

CREATE INDEX audit_entries_of_tenant ON audit_entries (tenant_id, number);

-- The last entry: one row, which whoever appends locks.
CREATE TABLE audit_head (
    id     BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    hash   BYTEA  NOT NULL
);

INSERT INTO audit_head (id, number, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));
