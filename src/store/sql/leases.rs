//! With which instance of the server a session is.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::engine::{Engine, Row as _};
use super::rows::{epoch, lease};
use super::statement::sql;
use crate::domain::{Epoch, InstanceId, Lease, LeaseClaim, LeaseGrant, SessionId, TenantId};
use crate::store::{LeaseStore, Result, StoreError};

#[async_trait]
impl<E: Engine> LeaseStore for SqlStore<E> {
    async fn claim_session(&self, tenant: TenantId, id: SessionId, claim: &LeaseClaim) -> Result<LeaseGrant> {
        let take = sql(
            "UPDATE sessions SET epoch = epoch + 1, lease_owner = $3, lease_until = $5 \
             WHERE id = $1 AND tenant_id = $2 \
             AND (lease_owner IS NULL OR lease_owner = $3 OR lease_until <= $4) RETURNING epoch",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(claim.owner.as_str())
        .bind(claim.now)
        .bind(claim.until);
        let taken = self.write_returning("claim a session", take).await?;
        if let Some(row) = taken.first() {
            return Ok(LeaseGrant::Granted(epoch(id, row.integer("epoch")?)?));
        }
        // Given back since then, it is free again; whoever claims it once more gets it.
        Ok(match self.find_lease(tenant, id).await? {
            Some(lease) => LeaseGrant::Held(lease),
            None => LeaseGrant::NoSession,
        })
    }

    async fn find_lease(&self, tenant: TenantId, id: SessionId) -> Result<Option<Lease>> {
        let statement =
            sql("SELECT epoch, lease_owner, lease_until FROM sessions WHERE id = $1 AND tenant_id = $2")
                .bind(id.as_uuid())
                .bind(tenant.as_uuid());
        let row = self.read_one("find a lease", statement).await?;
        row.map_or(Ok(None), |row| lease(id, &row))
    }

    async fn release_session(&self, tenant: TenantId, session: SessionId, held: Epoch) -> Result<()> {
        let release = sql("UPDATE sessions SET lease_owner = NULL, lease_until = NULL \
             WHERE id = $1 AND tenant_id = $2 AND epoch = $3")
        .bind(session.as_uuid())
        .bind(tenant.as_uuid())
        .bind(held.get());
        if self.write("give a session back", release).await? > 0 {
            return Ok(());
        }
        let known = sql("SELECT epoch FROM sessions WHERE id = $1 AND tenant_id = $2")
            .bind(session.as_uuid())
            .bind(tenant.as_uuid());
        match self.read_one("find a session's owner", known).await? {
            Some(_) => Err(StoreError::StaleEpoch { session, epoch: held }),
            None => Err(StoreError::SessionGone { session }),
        }
    }

    async fn renew_leases(
        &self,
        owner: &InstanceId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<u64> {
        let renew = sql("UPDATE sessions SET lease_until = $3 WHERE lease_owner = $1 AND lease_until > $2")
            .bind(owner.as_str())
            .bind(now)
            .bind(until);
        self.write("renew leases", renew).await
    }
}
