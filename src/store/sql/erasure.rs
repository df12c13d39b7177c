//! Erasing what belongs to a user, or to a tenant.

use async_trait::async_trait;

use super::engine::{Engine, Row as _};
use super::rows::from_json;
use super::statement::{Statement, sql};
use super::{SqlStore, Transaction, audit, money};
use crate::domain::{AuditNote, LedgerEntry, TenantId, TenantName, UserId};
use crate::store::{ERASED, ErasureStore, Result};

#[async_trait]
impl<E: Engine> ErasureStore for SqlStore<E> {
    async fn erase_user(&self, tenant: TenantId, user: &UserId, note: &AuditNote) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let erased = erase::<E>(&mut transaction, tenant, Some(user)).await?;
        let keys = sql("DELETE FROM api_keys WHERE tenant_id = $1 AND user_id = $2")
            .bind(tenant.as_uuid())
            .bind(user.as_str());
        transaction.run("erase a user's keys", keys).await?;
        let budgets = sql("DELETE FROM budgets WHERE tenant_id = $1 AND scope = 'user' AND subject = $2")
            .bind(tenant.as_uuid())
            .bind(user.as_str());
        transaction.run("erase a user's budgets", budgets).await?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(erased)
    }

    async fn erase_tenant(&self, tenant: TenantId, name: &TenantName, note: &AuditNote) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let erased = erase::<E>(&mut transaction, tenant, None).await?;
        let of_tenant = |statement: Statement| statement.bind(tenant.as_uuid());
        for (what, statement) in [
            (
                "erase a tenant's keys",
                sql("DELETE FROM api_keys WHERE tenant_id = $1"),
            ),
            (
                "erase a tenant's budgets",
                sql("DELETE FROM budgets WHERE tenant_id = $1"),
            ),
            (
                "erase a tenant's webhooks",
                sql("DELETE FROM webhooks WHERE tenant_id = $1"),
            ),
            (
                "erase a tenant's credential",
                sql("DELETE FROM model_credentials WHERE tenant_id = $1"),
            ),
        ] {
            transaction.run(what, of_tenant(statement)).await?;
        }
        let rename = sql(
            "UPDATE tenants SET name = $2, suspended_at = COALESCE(suspended_at, $3), policy = '{}', limits = '{}' \
             WHERE id = $1",
        );
        let rename = of_tenant(rename).bind(name.as_str()).bind(note.at);
        transaction.run("erase a tenant's name", rename).await?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(erased)
    }

    async fn scrub(&self) -> Result<()> {
        self.database
            .engine
            .scrub()
            .await
            .map_err(|error| E::explain("scrub the database", error))
    }
}

/// Removes the sessions of a user, or of all users, with what they have, and takes their names out of the ledger; how many
/// sessions.
async fn erase<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    user: Option<&UserId>,
) -> Result<u64> {
    money::lock::<E>(transaction, tenant).await?;
    let of_user = |statement: Statement| {
        let statement = statement.push_bind(" tenant_id = ", tenant.as_uuid());
        match user {
            Some(user) => statement.push_bind(" AND user_id = ", user.as_str()),
            None => statement,
        }
    };
    // What a request that just ended used is entered before its user has no name.
    let running = sql("SELECT entry FROM reservations WHERE tenant_id = $1").bind(tenant.as_uuid());
    for row in transaction.rows("find requests that run", running).await? {
        let entry: LedgerEntry = from_json("reservation", &row.text("entry")?)?;
        if user.is_none_or(|user| entry.spender.user == *user) {
            money::give_back::<E>(transaction, entry.id).await?;
            money::enter::<E>(transaction, tenant, &entry).await?;
        }
    }
    // Their logs and transcripts are freed a little at a time.
    let remember = of_user(sql(
        "INSERT INTO removed_sessions (session_id) SELECT id FROM sessions WHERE",
    ));
    transaction.run("remember removed sessions", remember).await?;
    let erased = transaction
        .run("erase sessions", of_user(sql("DELETE FROM sessions WHERE")))
        .await?;
    let entries = of_user(
        sql("UPDATE ledger_entries SET user_id = ")
            .push_bind("", ERASED)
            .push(" WHERE"),
    );
    transaction.run("take names out of the ledger", entries).await?;
    // Whose they are is not kept; what they were answered with may name anyone.
    let requests = sql("DELETE FROM requests WHERE tenant_id = $1").bind(tenant.as_uuid());
    transaction.run("erase requests", requests).await?;
    Ok(erased)
}
