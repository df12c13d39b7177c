//! Tenants' own credentials for the model's API.

use async_trait::async_trait;

use super::SqlStore;
use super::audit;
use super::engine::{Engine, Row as _};
use super::statement::{Statement, sql};
use crate::domain::{AuditNote, StoredCredential, TenantId};
use crate::store::{CredentialStore, Result, StoreError};

#[async_trait]
impl<E: Engine> CredentialStore for SqlStore<E> {
    async fn set_model_credential(
        &self,
        tenant: TenantId,
        credential: &StoredCredential,
        note: &AuditNote,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        transaction
            .run("store a credential", set(tenant, credential))
            .await?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await
    }

    async fn replace_model_credential(
        &self,
        tenant: TenantId,
        old: &StoredCredential,
        new: &StoredCredential,
    ) -> Result<bool> {
        let replace = sql("UPDATE model_credentials SET sealed = $3 WHERE tenant_id = $1 AND sealed = $2")
            .bind(tenant.as_uuid())
            .bind(old.sealed.as_str())
            .bind(new.sealed.as_str());
        Ok(self.write("replace a credential", replace).await? > 0)
    }

    async fn find_model_credential(&self, tenant: TenantId) -> Result<Option<StoredCredential>> {
        let find = sql("SELECT kind, sealed, set_at FROM model_credentials WHERE tenant_id = $1")
            .bind(tenant.as_uuid());
        let row = self.read_one("find a credential", find).await?;
        row.map(|row| {
            let kind = row.text("kind")?.parse();
            Ok(StoredCredential {
                kind: kind.map_err(|error| StoreError::corrupt("kind of credential", error))?,
                sealed: row.text("sealed")?,
                set_at: row.time("set_at")?,
            })
        })
        .transpose()
    }

    async fn remove_model_credential(&self, tenant: TenantId, note: &AuditNote) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let remove = sql("DELETE FROM model_credentials WHERE tenant_id = $1").bind(tenant.as_uuid());
        if transaction.run("remove a credential", remove).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

pub(super) fn set(tenant: TenantId, credential: &StoredCredential) -> Statement {
    sql(
        "INSERT INTO model_credentials (tenant_id, kind, sealed, set_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant_id) DO UPDATE SET kind = excluded.kind, sealed = excluded.sealed, set_at = excluded.set_at",
    )
    .bind(tenant.as_uuid())
    .bind(credential.kind.to_string())
    .bind(credential.sealed.as_str())
    .bind(credential.set_at)
}
