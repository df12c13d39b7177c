//! Keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::engine::{Engine, Row as _};
use super::rows::{api_key, insert_key};
use super::statement::sql;
use crate::domain::{ApiKey, KeyDigest, KeyId, TenantId};
use crate::store::{KeyStore, Result};

#[async_trait]
impl<E: Engine> KeyStore for SqlStore<E> {
    async fn insert_key(&self, tenant: TenantId, key: &ApiKey) -> Result<bool> {
        Ok(self.write("store a key", insert_key(tenant, key)).await? > 0)
    }

    async fn find_key(&self, digest: KeyDigest) -> Result<Option<(TenantId, ApiKey)>> {
        let statement = sql("SELECT * FROM api_keys WHERE digest = $1").bind(digest.0.as_slice());
        let row = self.read_one("find a key", statement).await?;
        row.map(|row| Ok((TenantId::from_uuid(row.uuid("tenant_id")?), api_key(&row)?)))
            .transpose()
    }

    async fn list_keys(&self, tenant: TenantId, before: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>> {
        let mut statement = sql("SELECT * FROM api_keys WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(before) = before {
            statement = statement.push_bind(" AND id < ", before.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id DESC LIMIT ", limit);
        let rows = self.read("list keys", statement).await?;
        rows.iter().map(api_key).collect()
    }

    async fn revoke_key(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>> {
        let revoke = sql(
            "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE id = $1 AND tenant_id = $2 RETURNING *",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(at);
        let rows = self.write_returning("revoke a key", revoke).await?;
        rows.first().map(api_key).transpose()
    }

    async fn note_key_use(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<()> {
        let note = sql("UPDATE api_keys SET last_used_at = $3 WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid())
            .bind(at);
        self.write("note a key's use", note).await.map(|_| ())
    }
}
