//! Sends events to webhooks, for as long as the server runs: at least once, by a schedule, each webhook at its own pace.
//!
//! What is to be sent is in the store since its event is. A delivery is claimed for a while, tried, and settled; if the server
//! ends in between, it is tried again when that while is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::Notify;

use super::delivery_metrics::DeliveryMetrics;
use crate::domain::{
    Clock, Delivery, DeliveryAttempt, DeliveryStatus, Disabled, DisabledReason, EventQuery, TenantId,
    Webhook, WebhookChange, WebhookId,
};
use crate::lifecycle::{Shutdown, Tasks};
use crate::security::outgoing::{OutgoingRules, PrivateAddress};
use crate::security::webhook_signing::WebhookSigner;
use crate::store::{Result, Store, StoreError};

/// How many webhooks are looked at in one round.
const WEBHOOKS_A_ROUND: u32 = 1000;
/// How long a claim lasts beyond the time that a try may take.
const CLAIM_BEYOND: Duration = Duration::from_secs(15);
/// What a webhook answers that does not want to be asked again.
const GONE: u16 = 410;

/// How events are sent.
#[derive(Debug, Clone)]
pub struct DeliveryRules {
    /// How long is waited before each try.
    pub schedule: Vec<Duration>,
    /// How long a try may take.
    pub timeout: Duration,
    /// The most tries at once.
    pub concurrency_max: usize,
    /// The most tries at once of one webhook.
    pub webhook_concurrency_max: u32,
    /// How often it is looked for what is due.
    pub poll_interval: Duration,
    /// After how long of nothing but failures a webhook is switched off; zero: never.
    pub disable_after: Duration,
    /// How long the secret before the current one still signs.
    pub rotation_grace: Duration,
    /// Where it may be sent to.
    pub outgoing: OutgoingRules,
}

/// Sends events to webhooks.
#[derive(Debug, Clone)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    shutdown: Shutdown,
    signer: WebhookSigner,
    client: reqwest::Client,
    rules: DeliveryRules,
    metrics: DeliveryMetrics,
    /// How many tries of each webhook are under way.
    under_way: Mutex<HashMap<WebhookId, u32>>,
    ended: Notify,
}

/// What came of a try.
enum Outcome {
    Taken(u16),
    Failed(Option<u16>, String),
}

impl Dispatcher {
    /// Over these parts.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        shutdown: Shutdown,
        signer: WebhookSigner,
        rules: DeliveryRules,
        tls: rustls::ClientConfig,
    ) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(rules.outgoing.clone()))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names by itself.
            .no_proxy()
            .timeout(rules.timeout)
            .user_agent(concat!("Paddock/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self(Arc::new(Shared {
            store,
            clock,
            tasks,
            shutdown,
            signer,
            client,
            rules,
            metrics: DeliveryMetrics::default(),
            under_way: Mutex::default(),
            ended: Notify::new(),
        })))
    }

    /// What is counted and measured of it.
    #[must_use]
    pub fn metrics(&self) -> &DeliveryMetrics {
        &self.0.metrics
    }

    /// Sends what is due, for as long as the server runs.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.0.rules.poll_interval) => {}
                () = self.0.ended.notified() => {}
                () = self.0.shutdown.begun() => return,
            }
            if let Err(error) = self.round().await {
                // What is due stays so.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no events were sent to webhooks"
                );
                tokio::time::sleep(self.0.rules.poll_interval).await;
            }
        }
    }

    /// Begins as many tries as there may be.
    async fn round(&self) -> Result<()> {
        let shared = &self.0;
        let now = shared.clock.now();
        let claimed_for = shared.rules.timeout + CLAIM_BEYOND;
        let until = now + TimeDelta::from_std(claimed_for).unwrap_or(TimeDelta::MAX);
        for (tenant, webhook) in shared.store.due_webhooks(now, WEBHOOKS_A_ROUND).await? {
            let free = shared.free_for(webhook.id);
            if free == 0 {
                continue;
            }
            let due = shared
                .store
                .claim_deliveries(webhook.id, now, until, free)
                .await?;
            for delivery in due {
                *shared.lock().entry(webhook.id).or_default() += 1;
                let (shared, webhook) = (Arc::clone(shared), webhook.clone());
                self.0.tasks.spawn(async move {
                    shared.deliver(tenant, &webhook, &delivery).await;
                    shared.leave(webhook.id);
                });
            }
        }
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, u32>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more tries of a webhook may be under way.
    fn free_for(&self, webhook: WebhookId) -> u32 {
        let under_way = self.lock();
        let all: u32 = under_way.values().sum();
        let own = under_way.get(&webhook).copied().unwrap_or(0);
        let most = u32::try_from(self.rules.concurrency_max).unwrap_or(u32::MAX);
        let free = self.rules.webhook_concurrency_max.saturating_sub(own);
        free.min(most.saturating_sub(all))
    }

    fn leave(&self, webhook: WebhookId) {
        let mut under_way = self.lock();
        if let Some(own) = under_way.get_mut(&webhook) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                under_way.remove(&webhook);
            }
        }
        drop(under_way);
        self.ended.notify_one();
    }

    async fn deliver(&self, tenant: TenantId, webhook: &Webhook, delivery: &Delivery) {
        let tried = async {
            let began = Instant::now();
            let outcome = self.attempt(tenant, webhook, delivery).await?;
            let took = began.elapsed();
            let state = self.settle(tenant, webhook, delivery, outcome).await?;
            self.metrics.tried(state, took);
            Ok::<_, StoreError>(())
        };
        tokio::select! {
            tried = tried => if let Err(error) = tried {
                // Its claim ends, and it is tried again.
                tracing::warn!(error = &error as &dyn std::error::Error, "a delivery was not settled");
            },
            // So too when the server stops in the middle.
            () = self.shutdown.streams_to_end() => {}
        }
    }

    /// Sends an event once.
    async fn attempt(&self, tenant: TenantId, webhook: &Webhook, delivery: &Delivery) -> Result<Outcome> {
        let failed = |words: &str| Ok(Outcome::Failed(None, words.to_owned()));
        let one = EventQuery {
            until: Some(delivery.event),
            ..EventQuery::after(delivery.event.previous())
        };
        let session = self.store.find_session(tenant, delivery.session).await?;
        let events = self.store.read_events(tenant, delivery.session, &one, 1).await?;
        let (Some(session), Some(event)) = (session, events.first()) else {
            return failed("the event is no longer kept");
        };
        let body = json!({
            "type": delivery.kind,
            "timestamp": event.created_at,
            "data": {"session_id": delivery.session, "user_id": session.user, "event": event},
        });
        let body = body.to_string();
        let now = self.clock.now();
        let message = delivery.message().to_string();
        let signature = self.signer.sign(
            webhook.id,
            self.versions(webhook, now),
            &message,
            now.timestamp(),
            body.as_bytes(),
        );
        let Ok(url) = webhook.url.parse::<url::Url>() else {
            return failed("its URL is none");
        };
        if let Err(refused) = self.rules.outgoing.check(&url) {
            return failed(&refused.to_string());
        }
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &message)
            .header("webhook-timestamp", now.timestamp().to_string())
            .header("webhook-signature", signature)
            .body(body);
        Ok(match request.send().await {
            Ok(response) if response.status().is_success() => Outcome::Taken(response.status().as_u16()),
            Ok(response) => {
                let status = response.status();
                Outcome::Failed(Some(status.as_u16()), format!("it answered {status}"))
            }
            Err(error) => Outcome::Failed(None, in_words(&error)),
        })
    }

    /// The versions of the secret that sign: the current one and, for a while, the one before.
    fn versions(&self, webhook: &Webhook, now: DateTime<Utc>) -> Vec<u32> {
        let grace = TimeDelta::from_std(self.rules.rotation_grace).unwrap_or(TimeDelta::MAX);
        let both = webhook.rotated_at.is_some_and(|rotated| now - rotated < grace);
        let before = webhook.secret_version.checked_sub(1).filter(|_| both);
        std::iter::once(webhook.secret_version).chain(before).collect()
    }

    async fn settle(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        delivery: &Delivery,
        outcome: Outcome,
    ) -> Result<DeliveryStatus> {
        let at = self.clock.now();
        let (status, error) = match outcome {
            Outcome::Taken(status) => (Some(status), None),
            Outcome::Failed(status, error) => (status, Some(error)),
        };
        let failed = error.is_some();
        let last = DeliveryAttempt { at, status, error };
        let next = self.rules.schedule.get(delivery.attempts as usize);
        let next = next.and_then(|wait| at.checked_add_signed(TimeDelta::from_std(*wait).ok()?));
        let (state, due_at) = match next {
            _ if !failed => (DeliveryStatus::Delivered, None),
            Some(next) => (DeliveryStatus::Pending, Some(next)),
            None => (DeliveryStatus::Dead, None),
        };
        self.store.settle_delivery(delivery, state, due_at, &last).await?;
        if state == DeliveryStatus::Dead {
            tracing::warn!(webhook.id = %webhook.id, message.id = %delivery.message(), "an event was not delivered: a dead letter");
        }
        let change = self.verdict(webhook, failed, status, at);
        if change != WebhookChange::default() {
            self.store
                .update_webhook(tenant, webhook.id, &change, None)
                .await?;
        }
        Ok(state)
    }

    /// What a try says of its webhook.
    fn verdict(
        &self,
        webhook: &Webhook,
        failed: bool,
        status: Option<u16>,
        at: DateTime<Utc>,
    ) -> WebhookChange {
        let mut change = WebhookChange::default();
        if !failed {
            change.failing_since = webhook.failing_since.map(|_| None);
            return change;
        }
        let since = webhook.failing_since.unwrap_or(at);
        change.failing_since = webhook.failing_since.is_none().then_some(Some(at));
        let patience = TimeDelta::from_std(self.rules.disable_after).unwrap_or(TimeDelta::MAX);
        let too_long = !self.rules.disable_after.is_zero() && at - since >= patience;
        let reason = if status == Some(GONE) {
            Some(DisabledReason::Gone)
        } else {
            too_long.then_some(DisabledReason::Failing)
        };
        if let Some(reason) = reason {
            tracing::warn!(webhook.id = %webhook.id, ?reason, "a webhook was switched off");
            change.disabled = Some(Some(Disabled { at, reason }));
        }
        change
    }
}

/// What went wrong, without what only the server's log is to tell.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<PrivateAddress>().is_some() {
            return PrivateAddress.to_string();
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "it did not answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request broke off".to_owned()
    }
}
