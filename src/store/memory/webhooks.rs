//! Webhooks, and what is sent to them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, State};
use crate::domain::{
    AuditNote, Delivery, DeliveryAttempt, DeliveryStatus, Event, EventId, MessageId, Redelivery, SessionId,
    TenantId, Webhook, WebhookChange, WebhookId,
};
use crate::store::{Result, WebhookStore};

impl State {
    /// Makes deliveries of events that were just stored, for the webhooks that want them.
    pub(super) fn deliver(&mut self, tenant: TenantId, session: SessionId, events: &[Event]) {
        let wanting: Vec<Webhook> = self
            .webhooks
            .values()
            .filter(|(owner, webhook)| *owner == tenant && webhook.disabled.is_none())
            .map(|(_, webhook)| webhook.clone())
            .collect();
        for event in events {
            for webhook in &wanting {
                if webhook.kinds.contains(&event.body.kind()) {
                    self.deliver_one(tenant, webhook.id, session, event, event.created_at);
                }
            }
        }
    }

    fn deliver_one(
        &mut self,
        tenant: TenantId,
        webhook: WebhookId,
        session: SessionId,
        event: &Event,
        at: DateTime<Utc>,
    ) {
        let known = self
            .deliveries
            .values_mut()
            .find(|known| known.webhook == webhook && known.session == session && known.event == event.id);
        if let Some(known) = known {
            again(known, at);
            known.created_at = at;
            return;
        }
        let number = self.next_delivery();
        let delivery = Delivery {
            number,
            tenant,
            webhook,
            session,
            event: event.id,
            kind: event.body.kind(),
            status: DeliveryStatus::Pending,
            attempts: 0,
            due_at: Some(at),
            created_at: at,
            last: None,
        };
        self.deliveries.insert(number, delivery);
    }

    pub(super) fn next_delivery(&mut self) -> u64 {
        self.deliveries_made += 1;
        self.deliveries_made
    }
}

fn again(delivery: &mut Delivery, now: DateTime<Utc>) {
    delivery.status = DeliveryStatus::Pending;
    delivery.attempts = 0;
    delivery.due_at = Some(now);
}

#[async_trait]
impl WebhookStore for MemoryStore {
    async fn insert_webhook(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        most: u32,
        note: &AuditNote,
    ) -> Result<bool> {
        let mut state = self.lock();
        let known = state.webhooks.values().filter(|(owner, _)| *owner == tenant);
        if known.count() >= most as usize {
            return Ok(false);
        }
        state.enter_audit(note)?;
        state.webhooks.insert(webhook.id, (tenant, webhook.clone()));
        Ok(true)
    }

    async fn update_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        change: &WebhookChange,
        note: Option<&AuditNote>,
    ) -> Result<Option<Webhook>> {
        let mut state = self.lock();
        let Some((_, webhook)) = state.webhooks.get_mut(&id).filter(|(owner, _)| *owner == tenant) else {
            return Ok(None);
        };
        change.apply(webhook);
        let changed = webhook.clone();
        if let Some(note) = note {
            state.enter_audit(note)?;
        }
        Ok(Some(changed))
    }

    async fn remove_webhook(&self, tenant: TenantId, id: WebhookId, note: &AuditNote) -> Result<bool> {
        let mut state = self.lock();
        if state.webhooks.get(&id).is_none_or(|(owner, _)| *owner != tenant) {
            return Ok(false);
        }
        state.enter_audit(note)?;
        state.webhooks.remove(&id);
        state.deliveries.retain(|_, delivery| delivery.webhook != id);
        Ok(true)
    }

    async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
        let state = self.lock();
        let found = state.webhooks.get(&id).filter(|(owner, _)| *owner == tenant);
        Ok(found.map(|(_, webhook)| webhook.clone()))
    }

    async fn list_webhooks(
        &self,
        tenant: TenantId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>> {
        let state = self.lock();
        let found = state
            .webhooks
            .values()
            .filter(|(owner, webhook)| *owner == tenant && after.is_none_or(|after| webhook.id > after));
        Ok(found
            .take(limit as usize)
            .map(|(_, webhook)| webhook.clone())
            .collect())
    }

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<(TenantId, Webhook)>> {
        let state = self.lock();
        let is_due = |id: WebhookId| {
            let mut deliveries = state.deliveries.values();
            deliveries.any(|known| known.webhook == id && known.due_at.is_some_and(|due| due <= now))
        };
        let due = state
            .webhooks
            .values()
            .filter(|(_, webhook)| webhook.disabled.is_none() && is_due(webhook.id));
        Ok(due.take(limit as usize).cloned().collect())
    }

    async fn claim_deliveries(
        &self,
        webhook: WebhookId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let mut state = self.lock();
        let mut due: Vec<&mut Delivery> = state
            .deliveries
            .values_mut()
            .filter(|known| known.webhook == webhook && known.due_at.is_some_and(|due| due <= now))
            .collect();
        due.sort_by_key(|delivery| delivery.due_at);
        let claimed = due.into_iter().take(limit as usize).map(|delivery| {
            delivery.attempts += 1;
            delivery.due_at = Some(until);
            delivery.clone()
        });
        Ok(claimed.collect())
    }

    async fn settle_delivery(
        &self,
        delivery: &Delivery,
        status: DeliveryStatus,
        due_at: Option<DateTime<Utc>>,
        last: &DeliveryAttempt,
    ) -> Result<()> {
        let mut state = self.lock();
        let known = state.deliveries.get_mut(&delivery.number);
        if let Some(known) = known.filter(|known| known.status == DeliveryStatus::Pending) {
            known.status = status;
            known.due_at = due_at;
            known.last = Some(last.clone());
        }
        Ok(())
    }

    async fn list_deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        status: Option<DeliveryStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let state = self.lock();
        let found = state.deliveries.values().rev().filter(|known| {
            known.tenant == tenant
                && known.webhook == webhook
                && status.is_none_or(|status| known.status == status)
                && before.is_none_or(|before| known.number < before)
        });
        Ok(found.take(limit as usize).cloned().collect())
    }

    async fn find_delivery(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        message: MessageId,
    ) -> Result<Option<Delivery>> {
        let state = self.lock();
        let mut deliveries = state.deliveries.values();
        let found = deliveries
            .find(|known| known.tenant == tenant && known.webhook == webhook && known.message() == message);
        Ok(found.cloned())
    }

    async fn redeliver(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        which: Redelivery,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let mut state = self.lock();
        let mut redelivered = 0;
        for known in state.deliveries.values_mut() {
            let is_meant = match which {
                Redelivery::One(message) => known.message() == message,
                Redelivery::Dead => known.status == DeliveryStatus::Dead,
            };
            if known.tenant == tenant && known.webhook == webhook && is_meant {
                again(known, now);
                redelivered += 1;
            }
        }
        Ok(redelivered)
    }

    async fn replay(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        session: SessionId,
        after: EventId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(u64, Option<EventId>)> {
        let mut state = self.lock();
        let events: Vec<Event> = state
            .find(tenant, session)
            .into_iter()
            .flat_map(|kept| &kept.events)
            .filter(|event| event.id > after && webhook.kinds.contains(&event.body.kind()))
            .take(limit as usize)
            .cloned()
            .collect();
        for event in &events {
            state.deliver_one(tenant, webhook.id, session, event, now);
        }
        Ok((events.len() as u64, events.last().map(|event| event.id)))
    }

    async fn forget_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut left = limit;
        self.lock().deliveries.retain(|_, known| {
            let old = known.due_at.is_none() && known.created_at < before && left > 0;
            left -= u32::from(old);
            !old
        });
        Ok(u64::from(limit - left))
    }

    async fn all_deliveries(&self, tenant: TenantId, after: u64, limit: u32) -> Result<Vec<Delivery>> {
        let state = self.lock();
        let found = state
            .deliveries
            .range(after.saturating_add(1)..)
            .map(|(_, known)| known)
            .filter(|known| known.tenant == tenant);
        Ok(found.take(limit as usize).cloned().collect())
    }
}
