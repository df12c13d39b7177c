//! Questions of agents whether they may use tools.

use async_trait::async_trait;

use super::SqlStore;
use super::audit;
use super::engine::Engine;
use super::rows::{insert_permission, permission, to_json};
use super::statement::sql;
use crate::domain::{AuditNote, Permission, PermissionId, PermissionResolution, TenantId};
use crate::store::{PermissionFilter, PermissionStore, Result, StoreError};

#[async_trait]
impl<E: Engine> PermissionStore for SqlStore<E> {
    async fn insert_permission(&self, tenant: TenantId, new: &Permission) -> Result<()> {
        let stored = self
            .write("store a permission", insert_permission(tenant, new)?)
            .await?;
        if stored == 0 {
            return Err(StoreError::SessionGone { session: new.session });
        }
        Ok(())
    }

    async fn find_permission(&self, tenant: TenantId, id: PermissionId) -> Result<Option<Permission>> {
        let statement = sql("SELECT question, resolution FROM permissions WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("find a permission", statement).await?;
        row.as_ref().map(permission).transpose()
    }

    async fn list_pending_permissions(
        &self,
        tenant: TenantId,
        filter: &PermissionFilter,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Vec<Permission>> {
        let mut statement = sql("SELECT question, resolution FROM permissions WHERE resolution IS NULL")
            .push_bind(" AND tenant_id = ", tenant.as_uuid());
        if let Some(session) = filter.session {
            statement = statement.push_bind(" AND session_id = ", session.as_uuid());
        }
        if let Some(user) = &filter.user {
            statement = statement.push_bind(" AND user_id = ", user.as_str());
        }
        if let Some(after) = after {
            statement = statement.push_bind(" AND id > ", after.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id LIMIT ", limit);
        let rows = self.read("list permissions", statement).await?;
        rows.iter().map(permission).collect()
    }

    async fn resolve_permission(
        &self,
        tenant: TenantId,
        id: PermissionId,
        resolution: &PermissionResolution,
        note: Option<&AuditNote>,
    ) -> Result<Option<Permission>> {
        let mut transaction = self.begin().await?;
        let resolve = sql("UPDATE permissions SET resolution = $3 \
             WHERE id = $1 AND tenant_id = $2 AND resolution IS NULL RETURNING question, resolution")
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(to_json("write a permission's answer", resolution)?);
        let Some(row) = transaction.row("answer a permission", resolve).await? else {
            transaction.roll_back().await?;
            return self.find_permission(tenant, id).await;
        };
        let answered = permission(&row)?;
        if let Some(note) = note {
            audit::append_in_tx(&mut transaction, note).await?;
        }
        transaction.commit().await?;
        Ok(Some(answered))
    }
}
