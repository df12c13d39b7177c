//! Tenants.

use async_trait::async_trait;

use super::SqlStore;
use super::audit;
use super::engine::Engine;
use super::rows::{TENANT, tenant, to_json};
use super::statement::{Statement, select, sql};
use crate::domain::{AuditNote, Tenant, TenantChange, TenantId, TenantName};
use crate::store::{Result, TenantStore};

#[async_trait]
impl<E: Engine> TenantStore for SqlStore<E> {
    async fn ensure_tenant(&self, new: &Tenant) -> Result<Tenant> {
        if let Some(stored) = self.find_tenant(&new.name).await? {
            return Ok(stored);
        }
        let insert = insert(new)?.push(UNLESS_KNOWN);
        self.write("store a tenant", insert).await?;
        Ok(self.find_tenant(&new.name).await?.unwrap_or_else(|| new.clone()))
    }

    async fn insert_tenant(&self, new: &Tenant, note: &AuditNote) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let insert = insert(new)?.push(UNLESS_KNOWN);
        if transaction.run("store a tenant", insert).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn update_tenant(
        &self,
        id: TenantId,
        change: &TenantChange,
        note: &AuditNote,
    ) -> Result<Option<Tenant>> {
        let policy = change
            .policy
            .as_ref()
            .map(|policy| to_json("write a policy", policy));
        let limits = change
            .limits
            .as_ref()
            .map(|limits| to_json("write limits", limits));
        let mut transaction = self.begin().await?;
        let update = sql(
            "UPDATE tenants SET policy = COALESCE($5, policy), limits = COALESCE($6, limits), suspended_at = CASE WHEN $2 THEN COALESCE(suspended_at, $3) \
             WHEN $4 THEN NULL ELSE suspended_at END WHERE id = $1 RETURNING ",
        )
        .push(TENANT)
        .bind(id.as_uuid())
        .bind(change.suspended == Some(true))
        .bind(note.at)
        .bind(change.suspended == Some(false))
        .bind(policy.transpose()?)
        .bind(limits.transpose()?);
        let Some(row) = transaction.row("change a tenant", update).await? else {
            transaction.roll_back().await?;
            return Ok(None);
        };
        let changed = tenant(&row)?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(Some(changed))
    }

    async fn find_tenant(&self, name: &TenantName) -> Result<Option<Tenant>> {
        let find = select(TENANT, " FROM tenants WHERE name = $1").bind(name.as_str());
        let row = self.read_one("find a tenant", find).await?;
        row.as_ref().map(tenant).transpose()
    }

    async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>> {
        let find = select(TENANT, " FROM tenants WHERE id = $1").bind(id.as_uuid());
        let row = self.read_one("get a tenant", find).await?;
        row.as_ref().map(tenant).transpose()
    }

    async fn list_tenants(&self, after: Option<&TenantName>, limit: u32) -> Result<Vec<Tenant>> {
        let statement = select(TENANT, " FROM tenants WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after.map_or("", TenantName::as_str))
            .bind(limit);
        let rows = self.read("list tenants", statement).await?;
        rows.iter().map(tenant).collect()
    }
}

const UNLESS_KNOWN: &str = " ON CONFLICT (name) DO NOTHING";

pub(super) fn insert(tenant: &Tenant) -> Result<Statement> {
    Ok(sql(
        "INSERT INTO tenants (id, name, created_at, suspended_at, policy, limits) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tenant.id.as_uuid())
    .bind(tenant.name.as_str())
    .bind(tenant.created_at)
    .bind(tenant.suspended_at)
    .bind(to_json("write a policy", &tenant.policy)?)
    .bind(to_json("write limits", &tenant.limits)?))
}
