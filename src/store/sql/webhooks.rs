//! Webhooks, and what is sent to them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Engine, Row};
use super::rows::{event_id, from_json, number, signed, to_json, unsigned};
use super::statement::{Statement, Value, chunks, select, sql};
use super::{SqlStore, Transaction, audit, count};
use crate::domain::{
    AuditNote, Delivery, DeliveryAttempt, DeliveryStatus, EventId, EventKind, MessageId, Redelivery,
    SessionId, TenantId, Webhook, WebhookChange, WebhookId,
};
use crate::store::{Result, StoreError, WebhookStore};

#[async_trait]
impl<E: Engine> WebhookStore for SqlStore<E> {
    async fn insert_webhook(
        &self,
        tenant: TenantId,
        webhook: &Webhook,
        most: u32,
        note: &AuditNote,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let lock = sql("SELECT id FROM tenants WHERE id = ")
            .push_bind("", tenant.as_uuid())
            .push(E::LOCK_ROWS);
        transaction.rows("lock a tenant", lock).await?;
        let known = sql("SELECT COUNT(*) AS n FROM webhooks WHERE tenant_id = $1").bind(tenant.as_uuid());
        if count(transaction.row("count webhooks", known).await?.as_ref())? >= u64::from(most) {
            transaction.roll_back().await?;
            return Ok(false);
        }
        transaction
            .run("store a webhook", insert(tenant, webhook)?)
            .await?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn update_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        change: &WebhookChange,
        note: Option<&AuditNote>,
    ) -> Result<Option<Webhook>> {
        let mut transaction = self.begin().await?;
        let find = sql("SELECT webhook FROM webhooks WHERE id = $1 AND tenant_id = $2").push(E::LOCK_ROWS);
        let find = find.bind(id.as_uuid()).bind(tenant.as_uuid());
        let Some(row) = transaction.row("find a webhook", find).await? else {
            transaction.roll_back().await?;
            return Ok(None);
        };
        let mut webhook: Webhook = from_json("webhook", &row.text("webhook")?)?;
        change.apply(&mut webhook);
        let update = sql("UPDATE webhooks SET active = $2, kinds = $3, webhook = $4 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(webhook.disabled.is_none())
            .bind(kinds(&webhook))
            .bind(to_json("write a webhook", &webhook)?);
        transaction.run("change a webhook", update).await?;
        if let Some(note) = note {
            audit::append_in_tx(&mut transaction, note).await?;
        }
        transaction.commit().await?;
        Ok(Some(webhook))
    }

    async fn remove_webhook(&self, tenant: TenantId, id: WebhookId, note: &AuditNote) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let remove = sql("DELETE FROM webhooks WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        if transaction.run("remove a webhook", remove).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
        let find = sql("SELECT webhook FROM webhooks WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("find a webhook", find).await?;
        row.map(|row| from_json("webhook", &row.text("webhook")?))
            .transpose()
    }

    async fn list_webhooks(
        &self,
        tenant: TenantId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>> {
        let mut list = sql("SELECT webhook FROM webhooks WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(after) = after {
            list = list.push_bind(" AND id > ", after.as_uuid());
        }
        let rows = self
            .read("list webhooks", list.push_bind(" ORDER BY id LIMIT ", limit))
            .await?;
        rows.iter()
            .map(|row| from_json("webhook", &row.text("webhook")?))
            .collect()
    }

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<(TenantId, Webhook)>> {
        let due = sql(
            "SELECT tenant_id, webhook FROM webhooks WHERE active = $1 AND EXISTS \
             (SELECT 1 FROM webhook_deliveries WHERE webhook_deliveries.webhook_id = webhooks.id \
             AND webhook_deliveries.due_at <= $2) LIMIT $3",
        )
        .bind(true)
        .bind(now)
        .bind(limit);
        let rows = self.read("find webhooks with something due", due).await?;
        rows.iter()
            .map(|row| {
                let tenant = TenantId::from_uuid(row.uuid("tenant_id")?);
                Ok((tenant, from_json("webhook", &row.text("webhook")?)?))
            })
            .collect()
    }

    async fn claim_deliveries(
        &self,
        webhook: WebhookId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let claim = sql("UPDATE webhook_deliveries SET attempts = attempts + 1, due_at = $3 WHERE number IN \
             (SELECT number FROM webhook_deliveries WHERE webhook_id = $1 AND due_at <= $2 ORDER BY due_at LIMIT $4")
        .push(E::LOCK_ROWS)
        .push(") RETURNING ")
        .push(DELIVERY)
        .bind(webhook.as_uuid())
        .bind(now)
        .bind(until)
        .bind(limit);
        let rows = self.write_returning("claim deliveries", claim).await?;
        rows.iter().map(delivery).collect()
    }

    async fn settle_delivery(
        &self,
        delivery: &Delivery,
        status: DeliveryStatus,
        due_at: Option<DateTime<Utc>>,
        last: &DeliveryAttempt,
    ) -> Result<()> {
        let settle = sql(
            "UPDATE webhook_deliveries SET status = $2, due_at = $3, last = $4 \
             WHERE number = $1 AND status = 'pending'",
        )
        .bind(signed(delivery.number))
        .bind(status.to_string())
        .bind(due_at)
        .bind(to_json("write a try of a delivery", last)?);
        self.write("settle a delivery", settle).await.map(|_| ())
    }

    async fn list_deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        status: Option<DeliveryStatus>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let mut list = select(DELIVERY, " FROM webhook_deliveries WHERE")
            .push_bind(" webhook_id = ", webhook.as_uuid())
            .push_bind(" AND tenant_id = ", tenant.as_uuid());
        if let Some(status) = status {
            list = list.push_bind(" AND status = ", status.to_string());
        }
        if let Some(before) = before {
            list = list.push_bind(" AND number < ", signed(before));
        }
        let list = list.push_bind(" ORDER BY number DESC LIMIT ", limit);
        let rows = self.read("list deliveries", list).await?;
        rows.iter().map(delivery).collect()
    }

    async fn find_delivery(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        message: MessageId,
    ) -> Result<Option<Delivery>> {
        let find = select(
            DELIVERY,
            " FROM webhook_deliveries WHERE webhook_id = $1 AND session_id = $2 \
             AND event_id = $3 AND tenant_id = $4",
        )
        .bind(webhook.as_uuid())
        .bind(message.session.as_uuid())
        .bind(number(message.event))
        .bind(tenant.as_uuid());
        let row = self.read_one("find a delivery", find).await?;
        row.as_ref().map(delivery).transpose()
    }

    async fn redeliver(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        which: Redelivery,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let redeliver = sql("UPDATE webhook_deliveries SET status = 'pending', attempts = 0, due_at = ")
            .push_bind("", now)
            .push(" WHERE")
            .push_bind(" webhook_id = ", webhook.as_uuid())
            .push_bind(" AND tenant_id = ", tenant.as_uuid());
        let redeliver = match which {
            Redelivery::Dead => redeliver.push(" AND status = 'dead'"),
            Redelivery::One(message) => redeliver
                .push_bind(" AND session_id = ", message.session.as_uuid())
                .push_bind(" AND event_id = ", number(message.event)),
        };
        self.write("make deliveries again", redeliver).await
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
        let mut transaction = self.begin().await?;
        let find = sql("SELECT events.id, events.kind FROM events JOIN sessions ON sessions.id = events.session_id WHERE")
            .push_bind(" events.session_id = ", session.as_uuid())
            .push_bind(" AND sessions.tenant_id = ", tenant.as_uuid())
            .push_bind(" AND events.id > ", number(after))
            .push(" AND events.kind IN ")
            .push_row(webhook.kinds.iter().map(|kind| Value::from(<&'static str>::from(kind))))
            .push_bind(" ORDER BY events.id LIMIT ", limit);
        let found = transaction.rows("find events to be sent again", find).await?;
        let found: Vec<(i64, String)> = found
            .iter()
            .map(|row| Ok((row.integer("id")?, row.text("kind")?)))
            .collect::<Result<_>>()?;
        for chunk in chunks(&found, E::ROWS_A_STATEMENT) {
            let insert = sql(INSERT_DELIVERIES)
                .push(" VALUES ")
                .push_rows(chunk.iter().map(|(id, kind)| {
                    vec![
                        webhook.id.as_uuid().into(),
                        tenant.as_uuid().into(),
                        session.as_uuid().into(),
                        (*id).into(),
                        kind.as_str().into(),
                        "pending".into(),
                        0_i64.into(),
                        now.into(),
                        now.into(),
                    ]
                }))
                .push(
                    " ON CONFLICT (webhook_id, session_id, event_id) DO UPDATE SET status = excluded.status, \
                     attempts = excluded.attempts, due_at = excluded.due_at, created_at = excluded.created_at",
                );
            transaction.run("send events again", insert).await?;
        }
        transaction.commit().await?;
        let last = found.last().map(|(id, _)| event_id(*id)).transpose()?;
        Ok((found.len() as u64, last))
    }

    async fn forget_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let forget = sql(
            "DELETE FROM webhook_deliveries WHERE number IN (SELECT number FROM webhook_deliveries \
             WHERE due_at IS NULL AND created_at < $1 ORDER BY created_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit);
        self.write("forget deliveries", forget).await
    }

    async fn all_deliveries(&self, tenant: TenantId, after: u64, limit: u32) -> Result<Vec<Delivery>> {
        let list = select(
            DELIVERY,
            " FROM webhook_deliveries WHERE tenant_id = $1 AND number > $2 \
             ORDER BY number LIMIT $3",
        )
        .bind(tenant.as_uuid())
        .bind(signed(after))
        .bind(limit);
        let rows = self.read("list all deliveries", list).await?;
        rows.iter().map(delivery).collect()
    }
}

const INSERT_DELIVERIES: &str = "INSERT INTO webhook_deliveries (webhook_id, tenant_id, session_id, event_id, kind, \
     status, attempts, due_at, created_at)";

/// Makes deliveries of events that were just stored, for the webhooks that want them.
pub(super) async fn deliver<E: Engine>(
    transaction: &mut Transaction<E>,
    events: &[(SessionId, EventId)],
) -> Result<()> {
    for chunk in chunks(events, E::ROWS_A_STATEMENT) {
        let make = sql(INSERT_DELIVERIES)
            .push(
                " SELECT webhooks.id, webhooks.tenant_id, events.session_id, events.id, events.kind, 'pending', 0, \
                 events.created_at, events.created_at FROM events JOIN sessions ON sessions.id = events.session_id \
                 JOIN webhooks ON webhooks.tenant_id = sessions.tenant_id \
                 WHERE (events.session_id, events.id) IN (VALUES ",
            )
            .push_rows(
                chunk
                    .iter()
                    .map(|(session, event)| vec![session.as_uuid().into(), number(*event).into()]),
            )
            .push_bind(") AND webhooks.active = ", true)
            .push(" AND webhooks.kinds LIKE '%,' || events.kind || ',%'")
            // Numbers are given in this order: deliveries are listed as their events happened.
            .push(" ORDER BY events.session_id, events.id");
        transaction.run("make deliveries of events", make).await?;
    }
    Ok(())
}

pub(super) fn insert(tenant: TenantId, webhook: &Webhook) -> Result<Statement> {
    Ok(
        sql("INSERT INTO webhooks (id, tenant_id, active, kinds, webhook) VALUES ($1, $2, $3, $4, $5)")
            .bind(webhook.id.as_uuid())
            .bind(tenant.as_uuid())
            .bind(webhook.disabled.is_none())
            .bind(kinds(webhook))
            .bind(to_json("write a webhook", webhook)?),
    )
}

pub(super) fn insert_delivery(delivery: &Delivery) -> Result<Statement> {
    let last = delivery.last.as_ref();
    Ok(sql("INSERT INTO webhook_deliveries (webhook_id, tenant_id, session_id, event_id, kind, status, attempts, \
         due_at, created_at, last) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
    .bind(delivery.webhook.as_uuid())
    .bind(delivery.tenant.as_uuid())
    .bind(delivery.session.as_uuid())
    .bind(number(delivery.event))
    .bind(delivery.kind.to_string())
    .bind(delivery.status.to_string())
    .bind(delivery.attempts)
    .bind(delivery.due_at)
    .bind(delivery.created_at)
    .bind(last.map(|last| to_json("write a try of a delivery", last)).transpose()?))
}

/// The types that a webhook wants, each between commas.
fn kinds(webhook: &Webhook) -> String {
    let names = webhook.kinds.iter().map(|kind| format!("{kind},"));
    std::iter::once(",".to_owned()).chain(names).collect()
}

/// What [`delivery`] reads.
const DELIVERY: &str =
    "number, tenant_id, webhook_id, session_id, event_id, kind, status, attempts, due_at, created_at, last";

fn delivery(row: &impl Row) -> Result<Delivery> {
    let kind = row.text("kind")?.parse::<EventKind>();
    let status = row.text("status")?.parse::<DeliveryStatus>();
    let attempts = unsigned("tries of a delivery", row.integer("attempts")?)?;
    Ok(Delivery {
        number: unsigned("delivery's number", row.integer("number")?)?,
        tenant: TenantId::from_uuid(row.uuid("tenant_id")?),
        webhook: WebhookId::from_uuid(row.uuid("webhook_id")?),
        session: SessionId::from_uuid(row.uuid("session_id")?),
        event: event_id(row.integer("event_id")?)?,
        kind: kind.map_err(|error| StoreError::corrupt("kind of event", error))?,
        status: status.map_err(|error| StoreError::corrupt("status of a delivery", error))?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        due_at: row.time_or_null("due_at")?,
        created_at: row.time("created_at")?,
        last: row
            .text_or_null("last")?
            .map(|text| from_json("try of a delivery", &text))
            .transpose()?,
    })
}
