//! Writes links by which sessions are shown into an archive.

use std::io::Write;

use super::{ArchiveError, Lines, READ_BATCH, Record};
use crate::domain::TenantId;
use crate::store::Store;

/// After the sessions, which they belong to.
pub(super) async fn write_shares(
    store: &dyn Store,
    tenant: TenantId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut before = None;
    loop {
        let shares = store.list_shares(tenant, None, before, READ_BATCH).await?;
        let Some(last) = shares.last() else { return Ok(()) };
        before = Some(last.id);
        for share in shares {
            lines.record(&Record::Share { tenant, share })?;
        }
    }
}
