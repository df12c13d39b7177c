//! Links by which a session is shown to people who have no credential, where its tenant allows them.
//!
//! A link is a bearer credential of the lowest role, good for reading one session until it ends or is revoked. Its token is
//! told once; its digest alone is kept.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::authentication::AuthenticationService;
use super::error::Error;
use super::sessions::SessionService;
use crate::domain::{AuditAction, AuditNote, Clock, Page, Principal, SessionId, Share, ShareId};
use crate::limits::Limits;
use crate::security::keys::{digest_of, new_share_token};
use crate::store::{Store, StoreError};

/// Links by which sessions are shown.
#[derive(Debug)]
pub struct ShareService {
    store: Arc<dyn Store>,
    sessions: Arc<SessionService>,
    authentication: Arc<AuthenticationService>,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
}

impl ShareService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        sessions: Arc<SessionService>,
        authentication: Arc<AuthenticationService>,
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            sessions,
            authentication,
            limits,
            clock,
        }
    }

    /// Makes a link to a session, with its files or without, that ends after `ttl`; its token is answered this once.
    pub async fn create(
        &self,
        caller: &Principal,
        session: SessionId,
        ttl: Duration,
        files: bool,
    ) -> Result<(Share, SecretString), Error> {
        let session = self.sessions.find(caller, session).await?;
        let tenant = self.limits.of(caller.tenant).await?;
        if !tenant.is_some_and(|tenant| tenant.policy.share_links) {
            return Err(Error::SharesForbidden);
        }
        let token = new_share_token().map_err(|error| Error::Internal {
            action: "the system gives no random numbers",
            source: error.into(),
        })?;
        let now = self.clock.now();
        let share = Share {
            id: ShareId::generate(&*self.clock),
            session: session.id,
            files,
            digest: digest_of(token.expose_secret()),
            created_by: caller.credential.clone(),
            created_at: now,
            expires_at: now + ttl,
            revoked_at: None,
        };
        let note = AuditNote::by(caller, now, caller.tenant, AuditAction::ShareCreated, &share.id)
            .with("session", session.id.to_string())
            .with("files", files)
            .with("expires_at", share.expires_at.to_rfc3339());
        match self.store.insert_share(caller.tenant, &share, &note).await {
            Ok(()) => Ok((share, token)),
            Err(StoreError::SessionGone { .. }) => Err(Error::SessionNotFound),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of a session's links, newest first, with those that are over.
    pub async fn list(
        &self,
        caller: &Principal,
        session: SessionId,
        before: Option<ShareId>,
        limit: u32,
    ) -> Result<Page<Share, ShareId>, Error> {
        self.sessions.find(caller, session).await?;
        let shares = self
            .store
            .list_shares(caller.tenant, Some(session), before, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(shares, limit as usize, |share| share.id))
    }

    /// Revokes a link of a session's. One that is revoked stays as it is.
    pub async fn revoke(&self, caller: &Principal, session: SessionId, id: ShareId) -> Result<(), Error> {
        self.sessions.find(caller, session).await?;
        let share = self.store.get_share(caller.tenant, id).await?;
        let share = share
            .filter(|share| share.session == session)
            .ok_or(Error::ShareNotFound)?;
        let now = self.clock.now();
        let note = AuditNote::by(caller, now, caller.tenant, AuditAction::ShareRevoked, &id)
            .with("session", session.to_string());
        let revoked = self.store.revoke_share(caller.tenant, id, now, &note).await?;
        self.authentication.forget_share(share.digest);
        revoked.map(|_| ()).ok_or(Error::ShareNotFound)
    }
}
