//! Webhooks of a tenant: where its events are sent, and what became of them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use url::Url;

use super::error::Error;
use super::events::check_cursor;
use super::sessions::SessionService;
use crate::agent::Agents;
use crate::domain::{
    AuditAction, AuditNote, Clock, Delivery, DeliveryStatus, Disabled, DisabledReason, EventId, EventKind,
    MessageId, Page, Principal, Redelivery, SessionId, Webhook, WebhookChange, WebhookId,
};
use crate::security::outgoing::OutgoingRules;
use crate::security::webhook_signing::WebhookSigner;
use crate::store::Store;

/// The longest URL, in bytes.
const URL_MAX_BYTES: usize = 2048;

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where to.
    pub url: String,
    /// What people call it.
    pub description: Option<String>,
    /// Which events.
    pub kinds: Vec<EventKind>,
}

/// What is to be changed of a webhook. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookOrder {
    /// Where to.
    pub url: Option<String>,
    /// What people call it.
    pub description: Option<Option<String>>,
    /// Which events.
    pub kinds: Option<Vec<EventKind>>,
    /// Whether events are sent.
    pub enabled: Option<bool>,
}

/// What holds for all webhooks.
#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// The most of a tenant.
    pub max_per_tenant: u32,
    /// Whether they may be without TLS.
    pub allow_http: bool,
    /// Where they may be.
    pub outgoing: OutgoingRules,
    /// How long the secret before the current one still signs.
    pub rotation_grace: Duration,
    /// The most events of one replay.
    pub replay_max: u32,
}

/// Webhooks.
#[derive(Debug)]
pub struct WebhookService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    signer: WebhookSigner,
    rules: WebhookRules,
}

impl WebhookService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        signer: WebhookSigner,
        rules: WebhookRules,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            clock,
            signer,
            rules,
        }
    }

    /// Makes a webhook; its secret too.
    pub async fn create(
        &self,
        caller: &Principal,
        new: NewWebhook,
    ) -> Result<(Webhook, SecretString), Error> {
        tenant_wide(caller)?;
        let now = self.clock.now();
        let webhook = Webhook {
            id: WebhookId::generate(&*self.clock),
            url: self.checked(&new.url)?,
            description: new.description,
            kinds: new.kinds,
            created_at: now,
            secret_version: 1,
            rotated_at: None,
            disabled: None,
            failing_since: None,
        };
        let note = note(caller, now, AuditAction::WebhookCreated, webhook.id);
        let note = note.with("url", webhook.url.clone());
        let most = self.rules.max_per_tenant;
        if !self
            .store
            .insert_webhook(caller.tenant, &webhook, most, &note)
            .await?
        {
            return Err(Error::QuotaReached {
                limit: "webhooks.max_per_tenant",
                most,
            });
        }
        let secret = self.signer.secret(webhook.id, webhook.secret_version);
        Ok((webhook, secret))
    }

    /// A page of the tenant's webhooks, oldest first.
    pub async fn list(
        &self,
        caller: &Principal,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Page<Webhook, WebhookId>, Error> {
        tenant_wide(caller)?;
        let webhooks = self
            .store
            .list_webhooks(caller.tenant, after, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(webhooks, limit as usize, |webhook| webhook.id))
    }

    /// A webhook.
    pub async fn get(&self, caller: &Principal, id: WebhookId) -> Result<Webhook, Error> {
        tenant_wide(caller)?;
        let found = self.store.find_webhook(caller.tenant, id).await?;
        found.ok_or(Error::WebhookNotFound)
    }

    /// A webhook's secret.
    pub async fn secret(&self, caller: &Principal, id: WebhookId) -> Result<SecretString, Error> {
        let webhook = self.get(caller, id).await?;
        Ok(self.signer.secret(id, webhook.secret_version))
    }

    /// Gives a webhook a new secret; and until when the one before signs too.
    pub async fn rotate(
        &self,
        caller: &Principal,
        id: WebhookId,
    ) -> Result<(SecretString, DateTime<Utc>), Error> {
        let now = self.clock.now();
        let change = WebhookChange {
            rotated_at: Some(now),
            ..WebhookChange::default()
        };
        let webhook = self.change(caller, id, change, "secret").await?;
        let grace = TimeDelta::from_std(self.rules.rotation_grace).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(grace).unwrap_or(now);
        Ok((self.signer.secret(id, webhook.secret_version), until))
    }

    /// Changes a webhook. One that is switched on again goes on with what waits for it.
    pub async fn update(
        &self,
        caller: &Principal,
        id: WebhookId,
        order: WebhookOrder,
    ) -> Result<Webhook, Error> {
        let known = self.get(caller, id).await?;
        let off = Disabled {
            at: self.clock.now(),
            reason: DisabledReason::Asked,
        };
        let change = WebhookChange {
            url: order.url.map(|url| self.checked(&url)).transpose()?,
            description: order.description,
            kinds: order.kinds,
            disabled: match (order.enabled, known.disabled) {
                (Some(true), Some(_)) => Some(None),
                (Some(false), None) => Some(Some(off)),
                _ => None,
            },
            rotated_at: None,
            failing_since: order.enabled.filter(|enabled| *enabled).map(|_| None),
        };
        self.change(caller, id, change, "settings").await
    }

    /// Removes a webhook, and what waits for it.
    pub async fn remove(&self, caller: &Principal, id: WebhookId) -> Result<(), Error> {
        tenant_wide(caller)?;
        let note = note(caller, self.clock.now(), AuditAction::WebhookRemoved, id);
        if self.store.remove_webhook(caller.tenant, id, &note).await? {
            Ok(())
        } else {
            Err(Error::WebhookNotFound)
        }
    }

    /// A page of what was sent, or is to be, newest first.
    pub async fn deliveries(
        &self,
        caller: &Principal,
        id: WebhookId,
        status: Option<DeliveryStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<Delivery, u64>, Error> {
        self.get(caller, id).await?;
        let deliveries = self
            .store
            .list_deliveries(caller.tenant, id, status, before, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(deliveries, limit as usize, |delivery| delivery.number))
    }

    /// Sends a message again, wherever it is.
    pub async fn redeliver(
        &self,
        caller: &Principal,
        id: WebhookId,
        message: MessageId,
    ) -> Result<Delivery, Error> {
        self.get(caller, id).await?;
        let which = Redelivery::One(message);
        if self.redelivered(caller, id, which).await? == 0 {
            return Err(Error::DeliveryNotFound);
        }
        let found = self.store.find_delivery(caller.tenant, id, message).await?;
        found.ok_or(Error::DeliveryNotFound)
    }

    /// Sends all dead letters again; how many.
    pub async fn redeliver_dead(&self, caller: &Principal, id: WebhookId) -> Result<u64, Error> {
        self.get(caller, id).await?;
        self.redelivered(caller, id, Redelivery::Dead).await
    }

    /// Sends the events of a session after `after` again that the webhook wants; how many, and the last of them. There may
    /// be more after it.
    pub async fn replay(
        &self,
        caller: &Principal,
        id: WebhookId,
        session: SessionId,
        after: EventId,
    ) -> Result<(u64, Option<EventId>), Error> {
        let webhook = self.get(caller, id).await?;
        self.sessions.find(caller, session).await?;
        let log = self.agents.open_log(caller.tenant, session);
        check_cursor(&*self.store, &self.agents, &log, after).await?;
        let (now, most) = (self.clock.now(), self.rules.replay_max);
        let replayed = self
            .store
            .replay(caller.tenant, &webhook, session, after, now, most)
            .await?;
        let note = note(caller, now, AuditAction::WebhookReplayed, id);
        let note = note
            .with("session", session.to_string())
            .with("events", replayed.0);
        self.store.append_audit(&[note]).await?;
        Ok(replayed)
    }

    async fn redelivered(&self, caller: &Principal, id: WebhookId, which: Redelivery) -> Result<u64, Error> {
        let now = self.clock.now();
        let redelivered = self.store.redeliver(caller.tenant, id, which, now).await?;
        let note = note(caller, now, AuditAction::WebhookReplayed, id);
        self.store
            .append_audit(&[note.with("events", redelivered)])
            .await?;
        Ok(redelivered)
    }

    async fn change(
        &self,
        caller: &Principal,
        id: WebhookId,
        change: WebhookChange,
        what: &str,
    ) -> Result<Webhook, Error> {
        tenant_wide(caller)?;
        let note = note(caller, self.clock.now(), AuditAction::WebhookChanged, id);
        let note = note.with("what", what);
        let changed = self
            .store
            .update_webhook(caller.tenant, id, &change, Some(&note))
            .await?;
        changed.ok_or(Error::WebhookNotFound)
    }

    /// A URL that events may be sent to, as it is written in full.
    fn checked(&self, url: &str) -> Result<String, Error> {
        let wrong = |reason: &'static str| Error::Webhook { reason };
        if url.len() > URL_MAX_BYTES {
            return Err(wrong("must have at most 2048 bytes"));
        }
        let url: Url = url.parse().map_err(|_no_url| wrong("is no URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.rules.allow_http => {}
            "http" => return Err(wrong("must begin with https:// (webhooks.allow_http)")),
            _ => return Err(wrong("must begin with https://")),
        }
        if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "must have a host, and neither a user's name nor a password",
            ));
        }
        self.rules
            .outgoing
            .check(&url)
            .map_err(|_private| wrong("leads to a private address (webhooks.allowed_networks)"))?;
        Ok(url.to_string())
    }
}

/// A webhook gets events of all users: a credential that acts for one has no business with it.
fn tenant_wide(caller: &Principal) -> Result<(), Error> {
    match caller.user {
        None => Ok(()),
        Some(_) => Err(Error::Forbidden {
            reason: "this credential acts for one user; webhooks get the events of all",
        }),
    }
}

fn note(caller: &Principal, at: DateTime<Utc>, action: AuditAction, id: WebhookId) -> AuditNote {
    AuditNote::by(caller, at, caller.tenant, action, &id)
}
