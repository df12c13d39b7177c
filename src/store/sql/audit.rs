//! The audit.

use async_trait::async_trait;

use super::engine::{Engine, Row};
use super::rows::{signed, unsigned};
use super::statement::{Statement, select, sql};
use super::{SqlStore, Transaction};
use crate::domain::{AuditEntry, AuditHash, AuditNote, TenantId};
use crate::store::{AuditStore, Result, StoreError};

#[async_trait]
impl<E: Engine> AuditStore for SqlStore<E> {
    async fn append_audit(&self, notes: &[AuditNote]) -> Result<()> {
        let mut transaction = self.begin().await?;
        for note in notes {
            append_in_tx(&mut transaction, note).await?;
        }
        transaction.commit().await
    }

    async fn list_audit(
        &self,
        tenant: Option<TenantId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let mut statement = select(ENTRY, " FROM audit_entries WHERE")
            .push_bind(" number < ", before.map_or(i64::MAX, signed));
        if let Some(tenant) = tenant {
            statement = statement.push_bind(" AND tenant_id = ", tenant.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY number DESC LIMIT ", limit);
        let rows = self.read("list the audit", statement).await?;
        rows.iter().map(entry).collect()
    }

    async fn read_audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>> {
        let statement = select(
            ENTRY,
            " FROM audit_entries WHERE number > $1 ORDER BY number LIMIT $2",
        )
        .bind(signed(after))
        .bind(limit);
        let rows = self.read("read the audit", statement).await?;
        rows.iter().map(entry).collect()
    }

    async fn audit_head(&self) -> Result<Option<(u64, AuditHash)>> {
        let row = self.read_one("find the audit's head", select_head()).await?;
        row.as_ref().map(head).transpose().map(Option::flatten)
    }
}

/// Enters a note after the last one, which stays the last until the transaction ends.
pub(super) async fn append_in_tx<E: Engine>(
    transaction: &mut Transaction<E>,
    note: &AuditNote,
) -> Result<()> {
    let row = transaction
        .row("find the audit's head", select_head().push(E::LOCK_ROWS))
        .await?;
    let last = row.as_ref().map(head).transpose()?.flatten();
    let entry =
        AuditEntry::after(last, note).map_err(|error| StoreError::failed("write the audit", error))?;
    let insert = insert(note.tenant, &entry);
    transaction.run("append to the audit", insert).await?;
    transaction.run("move the audit's head", set_head(&entry)).await?;
    Ok(())
}

pub(super) fn insert(tenant: Option<TenantId>, entry: &AuditEntry) -> Statement {
    sql("INSERT INTO audit_entries (number, tenant_id, text, hash) VALUES ($1, $2, $3, $4)")
        .bind(signed(entry.number))
        .bind(tenant.map(|tenant| tenant.as_uuid()))
        .bind(entry.text.as_str())
        .bind(entry.hash.0.as_slice())
}

pub(super) fn set_head(entry: &AuditEntry) -> Statement {
    sql("UPDATE audit_head SET number = $1, hash = $2 WHERE id = 1")
        .bind(signed(entry.number))
        .bind(entry.hash.0.as_slice())
}

fn select_head() -> Statement {
    sql("SELECT number, hash FROM audit_head WHERE id = 1")
}

fn head(row: &impl Row) -> Result<Option<(u64, AuditHash)>> {
    let number = unsigned("audit entry's number", row.integer("number")?)?;
    Ok((number > 0).then_some((number, hash(row)?)))
}

fn hash(row: &impl Row) -> Result<AuditHash> {
    let bytes = row.bytes("hash")?.try_into();
    bytes
        .map(AuditHash)
        .map_err(|_bytes| StoreError::corrupt("audit entry's hash", "it is not of 32 bytes"))
}

/// What [`entry`] reads.
const ENTRY: &str = "number, text, hash";

fn entry(row: &impl Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        number: unsigned("audit entry's number", row.integer("number")?)?,
        text: row.text("text")?,
        hash: hash(row)?,
    })
}
