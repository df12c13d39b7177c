-- Webhooks: where tenants have events sent, and what is yet to be sent, or was.

CREATE TABLE webhooks (
    id        UUID    NOT NULL PRIMARY KEY,
    tenant_id UUID    NOT NULL REFERENCES tenants (id),
    -- Whether events are sent to it.
    active    BOOLEAN NOT NULL,
    -- The types of events that it wants, each between commas.
    kinds     TEXT    NOT NULL,
    -- All of it, as JSON.
    webhook   TEXT    NOT NULL
);

CREATE INDEX webhooks_of_tenant ON webhooks (tenant_id, id);

-- Made with the event, in its transaction.
CREATE TABLE webhook_deliveries (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id UUID    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    tenant_id  UUID    NOT NULL,
    session_id UUID    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    event_id   BIGINT  NOT NULL,
    kind       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    attempts   BIGINT  NOT NULL,
    -- When it is tried next; null when it is not.
    due_at     TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    -- What came of the last try, as JSON.
    last       TEXT
);

CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook_id, session_id, event_id);
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (webhook_id, number);
CREATE INDEX webhook_deliveries_by_status ON webhook_deliveries (webhook_id, status, number);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_done ON webhook_deliveries (created_at) WHERE due_at IS NULL;
CREATE INDEX webhook_deliveries_of_session ON webhook_deliveries (session_id);
CREATE INDEX webhook_deliveries_of_tenant ON webhook_deliveries (tenant_id, number);
