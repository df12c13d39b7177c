//! Webhooks, and what is sent to them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    AuditNote, Delivery, DeliveryAttempt, DeliveryStatus, EventId, MessageId, Redelivery, SessionId,
    TenantId, Webhook, WebhookChange, WebhookId,
};
use crate::store::Result;

/// Webhooks. Whoever appends an event to a log makes, in the same step, a delivery of it for every webhook of the tenant
/// that is active and wants events of its type; so none is ever missed.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Stores a new webhook; whether it did: not when the tenant has `most`.
    async fn insert_webhook(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        most: u32,
        note: &AuditNote,
    ) -> Result<bool>;

    /// Changes a webhook and answers it as it then is; `None` when there is none. Enters the note, if there is one.
    async fn update_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        change: &WebhookChange,
        note: Option<&AuditNote>,
    ) -> Result<Option<Webhook>>;

    /// Removes a webhook with its deliveries; whether there was one.
    async fn remove_webhook(&self, tenant: TenantId, id: WebhookId, note: &AuditNote) -> Result<bool>;

    /// The webhook.
    async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>>;

    /// Up to `limit` webhooks, oldest first, of those after `after`.
    async fn list_webhooks(
        &self,
        tenant: TenantId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>>;

    /// Up to `limit` active webhooks, of all tenants, with deliveries that are due.
    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<(TenantId, Webhook)>>;

    /// Takes up to `limit` deliveries of a webhook that are due, those first that are longest, and counts a try of each.
    /// Nobody else gets them before `until`.
    async fn claim_deliveries(
        &self,
        webhook: WebhookId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Delivery>>;

    /// Notes what came of a try. One that is no longer pending stays as it is.
    async fn settle_delivery(
        &self,
        delivery: &Delivery,
        status: DeliveryStatus,
        due_at: Option<DateTime<Utc>>,
        last: &DeliveryAttempt,
    ) -> Result<()>;

    /// Up to `limit` deliveries of a webhook, newest first, of those before `before`, of this status if one is given.
    async fn list_deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        status: Option<DeliveryStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Delivery>>;

    /// The delivery of this message to a webhook.
    async fn find_delivery(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        message: MessageId,
    ) -> Result<Option<Delivery>>;

    /// Makes deliveries pending anew, as if they had never been tried; how many.
    async fn redeliver(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        which: Redelivery,
        now: DateTime<Utc>,
    ) -> Result<u64>;

    /// Makes deliveries, anew where there were some, of a session's events after `after` that the webhook wants, and no
    /// more than `limit`; how many, and the last event of them.
    async fn replay(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        session: SessionId,
        after: EventId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(u64, Option<EventId>)>;

    /// Forgets up to `limit` deliveries from before `before` that are not pending; how many.
    async fn forget_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// Up to `limit` deliveries of a tenant in their order, of those after `after`.
    async fn all_deliveries(&self, tenant: TenantId, after: u64, limit: u32) -> Result<Vec<Delivery>>;
}
