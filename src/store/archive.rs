//! Moves everything from one store to another, as a file of JSON lines: a header, one line a record, and an end with
//! their count and their hash.
//!
//! Records follow what they belong to, and their order and spelling are the same whatever store they come from; so a
//! store that was filled from an archive gives the same archive again, which is how an import is checked. Requests by
//! idempotency keys and the servers' own secrets stay behind: they are short-lived. Take an archive of a store that no
//! server writes to.

mod reader;
mod shares;
mod webhooks;

use std::io::{BufRead, Write};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::reader::{Line, Reader};
use super::{Store, StoreError};
use crate::domain::{
    ApiKey, AuditEntry, BadEntry, Budget, BudgetStanding, Delivery, Epoch, Event, EventId, EventQuery, KeyId,
    LedgerEntry, Permission, PermissionId, Session, SessionFilter, SessionId, Share, StoredCredential,
    Tenant, TenantId, TranscriptPath, Turn, TurnId, UserId, Webhook,
};

const FORMAT: &str = "paddock-archive";
const VERSION: u32 = 2;
/// How many rows are read from a store at once.
const READ_BATCH: u32 = 500;
/// How many records are stored in one step.
const WRITE_BATCH: usize = 500;
/// The longest line of an archive, in bytes: longer than anything that a store holds.
const LINE_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// One thing that a store holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A tenant.
    Tenant {
        /// The tenant.
        tenant: Box<Tenant>,
    },
    /// A key of a tenant's.
    Key {
        /// Whose.
        tenant: TenantId,
        /// The key.
        key: ApiKey,
    },
    /// A tenant's own credential for the model's API, sealed.
    Credential {
        /// Whose.
        tenant: TenantId,
        /// The credential.
        credential: StoredCredential,
    },
    /// An entry of the audit.
    Audit {
        /// Whom it concerns.
        tenant: Option<TenantId>,
        /// The entry.
        entry: AuditEntry,
    },
    /// An entry of the ledger.
    Usage {
        /// Whose.
        tenant: TenantId,
        /// The entry.
        usage: LedgerEntry,
    },
    /// A budget.
    Budget {
        /// Whose.
        tenant: TenantId,
        /// The budget.
        budget: Budget,
    },
    /// A webhook.
    Webhook {
        /// Whose.
        tenant: TenantId,
        /// The webhook.
        webhook: Box<Webhook>,
    },
    /// An event on its way to a webhook, or delivered.
    Delivery {
        /// The delivery.
        delivery: Box<Delivery>,
    },
    /// A session.
    Session {
        /// The session.
        session: Box<Session>,
        /// Its epoch.
        epoch: u32,
        /// How far its log was trimmed.
        #[serde(default)]
        trimmed_to: EventId,
    },
    /// A turn.
    Turn {
        /// The turn.
        turn: Box<Turn>,
    },
    /// An event of a session's log.
    Event {
        /// The session.
        session: SessionId,
        /// The event.
        event: Box<Event>,
    },
    /// A line of a session's transcript.
    TranscriptEntry {
        /// The session.
        session: SessionId,
        /// The file.
        path: TranscriptPath,
        /// The line, verbatim.
        line: String,
    },
    /// A link by which a session is shown.
    Share {
        /// Whose.
        tenant: TenantId,
        /// The link.
        share: Share,
    },
    /// A question whether a tool may be used.
    Permission {
        /// Whose.
        tenant: TenantId,
        /// The question.
        permission: Box<Permission>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    records: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: End,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many records.
    pub records: u64,
    /// The SHA-256 of their lines.
    pub sha256: String,
    /// The entries of transcripts that could not be read, and are not in the archive.
    pub damaged: Vec<BadEntry>,
}

/// Why an archive was not written, or not read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error("the archive cannot be read or written")]
    Io(#[from] std::io::Error),
    /// It is not an archive, or one of a later version.
    #[error("this is no archive of version {VERSION}")]
    NotAnArchive,
    /// A line is not a record.
    #[error("line {line} of the archive is no record")]
    BadLine {
        /// Its number, from 1.
        line: u64,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("line {line} of the archive has more than {LINE_MAX_BYTES} bytes")]
    LongLine {
        /// Its number, from 1.
        line: u64,
    },
    /// It has no end: it was cut off.
    #[error("the archive has no end; it was cut off after {records} records")]
    CutOff {
        /// How many records it has.
        records: u64,
    },
    /// Its end does not tell what is in it.
    #[error("the archive is damaged: its count or its hash does not fit its records")]
    Damaged,
    /// The store is not empty.
    #[error("the store is not empty; an archive is only taken into an empty one")]
    NotEmpty,
    /// What the store gives back is not what was put in.
    #[error("the store does not give back what was imported: {given} records with hash {hash}")]
    Differs {
        /// How many it gives back.
        given: u64,
        /// Their hash.
        hash: String,
    },
}

/// Counts and hashes lines, and hands them on.
struct Lines<W> {
    out: W,
    records: u64,
    hash: Sha256,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            records: 0,
            hash: Sha256::new(),
        }
    }

    fn record(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let mut line = serde_json::to_string(record).map_err(std::io::Error::from)?;
        line.push('\n');
        self.records += 1;
        self.hash.update(&line);
        Ok(self.out.write_all(line.as_bytes())?)
    }

    fn end(&self) -> End {
        End {
            records: self.records,
            sha256: hex(&self.hash.clone().finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// Writes everything that a store holds.
pub async fn export(store: &dyn Store, mut out: impl Write) -> Result<Summary, ArchiveError> {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
    };
    writeln!(
        out,
        "{}",
        serde_json::to_string(&header).map_err(std::io::Error::from)?
    )?;
    let mut lines = Lines::new(&mut out);
    let damaged = write_records(store, &mut lines).await?;
    let end = lines.end();
    let line = serde_json::to_string(&EndLine { end }).map_err(std::io::Error::from)?;
    let end = lines.end();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(Summary {
        records: end.records,
        sha256: end.sha256,
        damaged,
    })
}

/// Writes what a store holds of a tenant, or of one of its users, in the same form: sessions with their turns, logs and
/// transcripts, questions, and what was used. A tenant's budgets too; no keys and no credentials.
pub async fn export_part(
    store: &dyn Store,
    tenant: TenantId,
    user: Option<&UserId>,
    out: impl Write,
) -> Result<u64, ArchiveError> {
    let mut lines = Lines::new(out);
    let filter = SessionFilter {
        user: user.cloned(),
        ..SessionFilter::default()
    };
    write_sessions(store, tenant, &filter, &mut lines).await?;
    write_permissions(store, tenant, user, &mut lines).await?;
    write_usage(store, tenant, user, &mut lines).await?;
    if user.is_none() {
        write_budgets(store, tenant, &mut lines).await?;
    }
    Ok(lines.records)
}

async fn write_records(
    store: &dyn Store,
    lines: &mut Lines<impl Write>,
) -> Result<Vec<BadEntry>, ArchiveError> {
    let mut damaged = Vec::new();
    let mut after = None;
    loop {
        let tenants = store.list_tenants(after.as_ref(), READ_BATCH).await?;
        let Some(last) = tenants.last() else {
            write_audit(store, lines).await?;
            return Ok(damaged);
        };
        after = Some(last.name.clone());
        for tenant in tenants {
            let id = tenant.id;
            let tenant = Box::new(tenant);
            lines.record(&Record::Tenant { tenant })?;
            write_keys(store, id, lines).await?;
            if let Some(credential) = store.find_model_credential(id).await? {
                lines.record(&Record::Credential {
                    tenant: id,
                    credential,
                })?;
            }
            write_usage(store, id, None, lines).await?;
            write_budgets(store, id, lines).await?;
            webhooks::write_webhooks(store, id, lines).await?;
            damaged.extend(write_sessions(store, id, &SessionFilter::default(), lines).await?);
            shares::write_shares(store, id, lines).await?;
            write_permissions(store, id, None, lines).await?;
            webhooks::write_deliveries(store, id, lines).await?;
        }
    }
}

async fn write_audit(store: &dyn Store, lines: &mut Lines<impl Write>) -> Result<(), ArchiveError> {
    let mut after = 0;
    loop {
        let entries = store.read_audit(after, READ_BATCH).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.number;
        for entry in entries {
            let note = entry
                .note()
                .map_err(|error| StoreError::corrupt("audit entry", error))?;
            let tenant = note.tenant;
            lines.record(&Record::Audit { tenant, entry })?;
        }
    }
}

async fn write_keys(
    store: &dyn Store,
    tenant: TenantId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut before: Option<KeyId> = None;
    loop {
        let keys = store.list_keys(tenant, before, READ_BATCH).await?;
        let Some(last) = keys.last() else { return Ok(()) };
        before = Some(last.id);
        for key in keys {
            lines.record(&Record::Key { tenant, key })?;
        }
    }
}

async fn write_usage(
    store: &dyn Store,
    tenant: TenantId,
    user: Option<&UserId>,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after = None;
    loop {
        let records = store.list_usage(tenant, after, READ_BATCH).await?;
        let Some(last) = records.last() else {
            return Ok(());
        };
        after = Some(last.id);
        let theirs = |usage: &LedgerEntry| user.is_none_or(|user| usage.spender.user == *user);
        for usage in records.into_iter().filter(theirs) {
            lines.record(&Record::Usage { tenant, usage })?;
        }
    }
}

async fn write_budgets(
    store: &dyn Store,
    tenant: TenantId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after = None;
    loop {
        // Where they stand in their periods follows from the ledger.
        let standings = store
            .list_budgets(tenant, None, DateTime::UNIX_EPOCH, after, READ_BATCH)
            .await?;
        let Some(last) = standings.last() else {
            return Ok(());
        };
        after = Some(last.budget.id);
        for BudgetStanding { budget, .. } in standings {
            lines.record(&Record::Budget { tenant, budget })?;
        }
    }
}

async fn write_permissions(
    store: &dyn Store,
    tenant: TenantId,
    user: Option<&UserId>,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after: Option<PermissionId> = None;
    loop {
        let permissions = store.list_permissions(tenant, after, READ_BATCH).await?;
        let Some(last) = permissions.last() else {
            return Ok(());
        };
        after = Some(last.id);
        let theirs = |permission: &Permission| user.is_none_or(|user| permission.user == *user);
        for permission in permissions.into_iter().filter(theirs) {
            let permission = Box::new(permission);
            lines.record(&Record::Permission { tenant, permission })?;
        }
    }
}

async fn write_sessions(
    store: &dyn Store,
    tenant: TenantId,
    filter: &SessionFilter,
    lines: &mut Lines<impl Write>,
) -> Result<Vec<BadEntry>, ArchiveError> {
    let mut damaged = Vec::new();
    let mut before = None;
    loop {
        let page = store.list_sessions(tenant, filter, before, READ_BATCH).await?;
        for session in page.items {
            let id = session.id;
            let epoch = store.session_epoch(tenant, id).await?.map_or(0, Epoch::get);
            let session = Box::new(session);
            let bounds = store.log_bounds(tenant, id).await?.unwrap_or_default();
            lines.record(&Record::Session {
                session,
                epoch,
                trimmed_to: bounds.trimmed_to,
            })?;
            write_turns(store, tenant, id, lines).await?;
            write_events(store, tenant, id, lines).await?;
            let transcript = store.read_transcript(tenant, id).await?;
            for file in transcript.files {
                for entry in file.entries {
                    let (path, line) = (file.path.clone(), entry.as_json().to_owned());
                    lines.record(&Record::TranscriptEntry {
                        session: id,
                        path,
                        line,
                    })?;
                }
            }
            damaged.extend(transcript.damaged);
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(damaged),
        }
    }
}

async fn write_turns(
    store: &dyn Store,
    tenant: TenantId,
    session: SessionId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut before: Option<TurnId> = None;
    loop {
        let page = store.list_turns(tenant, session, before, READ_BATCH).await?;
        for turn in page.items {
            let turn = Box::new(turn);
            lines.record(&Record::Turn { turn })?;
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(()),
        }
    }
}

async fn write_events(
    store: &dyn Store,
    tenant: TenantId,
    session: SessionId,
    lines: &mut Lines<impl Write>,
) -> Result<(), ArchiveError> {
    let mut after = EventId::START;
    loop {
        let query = EventQuery {
            deltas: true,
            ..EventQuery::after(after)
        };
        let events = store.read_events(tenant, session, &query, READ_BATCH).await?;
        let Some(last) = events.last() else { return Ok(()) };
        after = last.id;
        for event in events {
            let event = Box::new(event);
            lines.record(&Record::Event { session, event })?;
        }
    }
}

/// Reads an archive, which must be whole, into an empty store, and checks that the store gives back what was put in.
/// `archive` is opened twice: nothing is stored before all of it was seen.
pub async fn import<R: BufRead>(
    store: &dyn Store,
    mut archive: impl FnMut() -> std::io::Result<R>,
) -> Result<Summary, ArchiveError> {
    if !store.is_empty().await? {
        return Err(ArchiveError::NotEmpty);
    }
    let end = check(archive()?)?;
    let mut reader = Reader::open(archive()?)?;
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    while let Some(Line::Record(record)) = reader.next()? {
        batch.push(*record);
        if batch.len() == WRITE_BATCH {
            store.restore(&batch).await?;
            batch.clear();
        }
    }
    store.restore(&batch).await?;
    let mut lines = Lines::new(std::io::sink());
    let damaged = write_records(store, &mut lines).await?;
    let given = lines.end();
    if given != end {
        return Err(ArchiveError::Differs {
            given: given.records,
            hash: given.sha256,
        });
    }
    Ok(Summary {
        records: end.records,
        sha256: end.sha256,
        damaged,
    })
}

/// What the end of an archive tells, once all of it was read and fits.
fn check(archive: impl BufRead) -> Result<End, ArchiveError> {
    let mut reader = Reader::open(archive)?;
    loop {
        match reader.next()? {
            Some(Line::Record(_)) => {}
            Some(Line::End(end)) => {
                let found = End {
                    records: reader.records,
                    sha256: hex(&reader.hash.clone().finalize()),
                };
                let is_last = reader.read_line()?.is_none();
                return if found == end && is_last {
                    Ok(end)
                } else {
                    Err(ArchiveError::Damaged)
                };
            }
            None => {
                return Err(ArchiveError::CutOff {
                    records: reader.records,
                });
            }
        }
    }
}
