-- The ledger: an entry for each request that used a model, never changed. It takes the place of one row a turn and model.

CREATE TABLE ledger_entries (
    id                          UUID NOT NULL PRIMARY KEY,
    tenant_id                   UUID NOT NULL REFERENCES tenants (id),
    user_id                     TEXT NOT NULL COLLATE "C",
    session_id                  UUID NOT NULL,
    turn_id                     UUID,
    key_id                      UUID,
    model                       TEXT NOT NULL COLLATE "C",
    -- Whose credential paid: platform or tenant.
    payer                       TEXT NOT NULL,
    -- In UTC, as 2026-11-21.
    day                         TEXT NOT NULL COLLATE "C",
    at                          TIMESTAMPTZ NOT NULL,
    input_tokens                BIGINT NOT NULL,
    output_tokens               BIGINT NOT NULL,
    cache_read_input_tokens     BIGINT NOT NULL,
    cache_creation_input_tokens BIGINT NOT NULL,
    cost_micro_usd              BIGINT NOT NULL
);

INSERT INTO ledger_entries SELECT gen_random_uuid(), tenant_id, user_id, session_id, turn_id, NULL, model, 'platform', day, at,
    input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, cost_micro_usd FROM usage_records;
DROP TABLE usage_records;

CREATE INDEX ledger_entries_in_order ON ledger_entries (tenant_id, id);
CREATE INDEX ledger_entries_by_time ON ledger_entries (tenant_id, at);
CREATE INDEX ledger_entries_of_all_by_time ON ledger_entries (at);
CREATE INDEX ledger_entries_of_user ON ledger_entries (tenant_id, user_id, at);
CREATE INDEX ledger_entries_of_key ON ledger_entries (tenant_id, key_id, at);
CREATE INDEX ledger_entries_of_session ON ledger_entries (tenant_id, session_id, at);

CREATE TABLE budgets (
    id             UUID NOT NULL PRIMARY KEY,
    tenant_id      UUID NOT NULL REFERENCES tenants (id),
    -- tenant, user, key or session; and which one, by its wire form, or nothing.
    scope          TEXT NOT NULL COLLATE "C",
    subject        TEXT NOT NULL COLLATE "C",
    -- day, month or total.
    period         TEXT NOT NULL COLLATE "C",
    max_micro_usd  BIGINT,
    max_tokens     BIGINT,
    created_at     TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, scope, subject, period)
);

-- How much of a budget is spent in a period: the sum of the ledger's entries that count; and what runs may spend.
CREATE TABLE budget_use (
    budget_id          UUID NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    -- The period's first day.
    period_start       TEXT NOT NULL COLLATE "C",
    spent_micro_usd    BIGINT NOT NULL,
    spent_tokens       BIGINT NOT NULL,
    reserved_micro_usd BIGINT NOT NULL,
    reserved_tokens    BIGINT NOT NULL,
    PRIMARY KEY (budget_id, period_start)
);

-- Requests that run: the entry that each becomes, with what was seen of it, as JSON; and what it may spend at most.
CREATE TABLE reservations (
    id         UUID NOT NULL PRIMARY KEY,
    tenant_id  UUID NOT NULL REFERENCES tenants (id),
    entry      TEXT NOT NULL,
    -- The budgets that it is set aside of, each with its period's first day, as JSON.
    held_by    TEXT NOT NULL,
    micro_usd  BIGINT NOT NULL,
    tokens     BIGINT NOT NULL,
    -- When it was last known to run.
    renewed_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX reservations_by_renewal ON reservations (renewed_at);
CREATE INDEX reservations_of_tenant ON reservations (tenant_id);
