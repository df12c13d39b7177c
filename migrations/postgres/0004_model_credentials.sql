-- What tenants prove themselves with to the model's API, sealed.

CREATE TABLE model_credentials (
    tenant_id UUID NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    kind      TEXT NOT NULL,
    sealed    TEXT NOT NULL,
    set_at    TIMESTAMPTZ NOT NULL
);
