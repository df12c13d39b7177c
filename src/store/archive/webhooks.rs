//! Writes webhooks, and what is sent to them, into an archive.

use std::io::Write;

use super::{ArchiveError, Lines, READ_BATCH, Record};
use crate::domain::TenantId;
use crate::store::Store;

pub(super) async fn write_webhooks(
    store: &dyn Store,
    tenant: TenantId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after = None;
    loop {
        let webhooks = store.list_webhooks(tenant, after, READ_BATCH).await?;
        let Some(last) = webhooks.last() else {
            return Ok(());
        };
        after = Some(last.id);
        for webhook in webhooks {
            let webhook = Box::new(webhook);
            lines.record(&Record::Webhook { tenant, webhook })?;
        }
    }
}

/// After the sessions, which deliveries belong to.
pub(super) async fn write_deliveries(
    store: &dyn Store,
    tenant: TenantId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after = 0;
    loop {
        let deliveries = store.all_deliveries(tenant, after, READ_BATCH).await?;
        let Some(last) = deliveries.last() else {
            return Ok(());
        };
        after = last.number;
        for delivery in deliveries {
            let delivery = Box::new(delivery);
            lines.record(&Record::Delivery { delivery })?;
        }
    }
}
