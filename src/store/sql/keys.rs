//! Keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::audit;
use super::engine::{Engine, Row as _};
use super::rows::{API_KEY, api_key, insert_key};
use super::statement::{select, sql};
use crate::domain::{ApiKey, AuditNote, KeyDigest, KeyId, TenantId};
use crate::store::{KeyStore, Result};

#[async_trait]
impl<E: Engine> KeyStore for SqlStore<E> {
    async fn insert_key(&self, tenant: TenantId, key: &ApiKey, note: &AuditNote) -> Result<bool> {
        let mut transaction = self.begin().await?;
        if transaction.run("store a key", insert_key(tenant, key)?).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn find_key(&self, digest: KeyDigest) -> Result<Option<(TenantId, ApiKey)>> {
        let statement = select(API_KEY, " FROM api_keys WHERE digest = $1").bind(digest.0.as_slice());
        let row = self.read_one("find a key", statement).await?;
        row.map(|row| Ok((TenantId::from_uuid(row.uuid("tenant_id")?), api_key(&row)?)))
            .transpose()
    }

    async fn get_key(&self, tenant: TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        let statement = select(API_KEY, " FROM api_keys WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("get a key", statement).await?;
        row.as_ref().map(api_key).transpose()
    }

    async fn list_keys(&self, tenant: TenantId, before: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>> {
        let mut statement =
            select(API_KEY, " FROM api_keys WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(before) = before {
            statement = statement.push_bind(" AND id < ", before.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id DESC LIMIT ", limit);
        let rows = self.read("list keys", statement).await?;
        rows.iter().map(api_key).collect()
    }

    async fn revoke_key(
        &self,
        tenant: TenantId,
        id: KeyId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<ApiKey>> {
        let mut transaction = self.begin().await?;
        let revoke = sql(
            "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL RETURNING ",
        )
        .push(API_KEY)
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(at);
        let Some(row) = transaction.row("revoke a key", revoke).await? else {
            transaction.roll_back().await?;
            return self.get_key(tenant, id).await;
        };
        let revoked = api_key(&row)?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(Some(revoked))
    }

    async fn has_key(&self) -> Result<bool> {
        let any = sql("SELECT 1 FROM api_keys WHERE revoked_at IS NULL LIMIT 1");
        Ok(self.read_one("look for a key", any).await?.is_some())
    }

    async fn note_key_use(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<()> {
        let note = sql("UPDATE api_keys SET last_used_at = $3 WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid())
            .bind(at);
        self.write("note a key's use", note).await.map(|_| ())
    }
}
