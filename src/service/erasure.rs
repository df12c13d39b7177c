//! Erasing what belongs to a user or a tenant, and handing it out before.
//!
//! Erased are sessions with their logs and transcripts, files, private homes and keys. What stays: the ledger, without the
//! names of users, and the audit, which keeps that it happened.

use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write};
use std::sync::Arc;

use base64::Engine as _;
use cap_std::fs::Dir;
use serde_json::json;

use super::authentication::AuthenticationService;
use super::error::Error;
use super::tenants::TenantService;
use crate::agent::Agents;
use crate::domain::{
    AuditAction, AuditNote, Clock, Principal, SessionFilter, Tenant, TenantId, TenantName, UserId,
};
use crate::limits::tenants::Tenants;
use crate::security::workspace::{WorkspaceError, Workspaces};
use crate::store::{Store, archive};

/// How many sessions are read, and rows freed, at once.
const BATCH: u32 = 500;
/// How often it is looked whether new sessions came in while others were erased.
const ROUNDS: u32 = 5;
/// How much of a file is in one line of an export, in bytes.
const PIECE_BYTES: usize = 512 * 1024;
/// How deep folders are gone into.
const DEPTH_MAX: u32 = 64;

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// How many sessions.
    pub sessions: u64,
}

/// Erases, and hands out.
#[derive(Debug)]
pub struct ErasureService {
    store: Arc<dyn Store>,
    agents: Agents,
    workspaces: Arc<Workspaces>,
    tenants: Arc<TenantService>,
    known: Arc<Tenants>,
    authentication: Arc<AuthenticationService>,
    clock: Arc<dyn Clock>,
}

impl ErasureService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        workspaces: Arc<Workspaces>,
        tenants: Arc<TenantService>,
        known: Arc<Tenants>,
        authentication: Arc<AuthenticationService>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            agents,
            workspaces,
            tenants,
            known,
            authentication,
            clock,
        }
    }

    /// Erases a user of a tenant. One that is not known is erased already.
    pub async fn erase_user(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        user: &UserId,
    ) -> Result<Erased, Error> {
        let tenant = self.tenants.get(caller, tenant).await?;
        let now = self.clock.now();
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::UserErased, user);
        let erase = async || Ok(self.store.erase_user(tenant.id, user, &note).await?);
        self.erase(&tenant, Some(user), erase).await
    }

    /// Erases a tenant; never the caller's own.
    pub async fn erase_tenant(&self, caller: &Principal, name: &TenantName) -> Result<Erased, Error> {
        let tenant = self.tenants.get(caller, name).await?;
        if tenant.id == caller.tenant {
            return Err(Error::Forbidden {
                reason: "a tenant is not erased with a credential of its own",
            });
        }
        let now = self.clock.now();
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::TenantErased, name);
        let erased = format!("erased-{}", tenant.id.as_uuid().simple());
        let erased: TenantName = erased.parse().map_err(|error| Error::Internal {
            action: "an erased tenant cannot be named",
            source: Box::new(error),
        })?;
        let erase = async || Ok(self.store.erase_tenant(tenant.id, &erased, &note).await?);
        self.erase(&tenant, None, erase).await
    }

    /// Ends what runs, removes the folders and does `erase`, again while new sessions come in; then frees what is left.
    async fn erase(
        &self,
        tenant: &Tenant,
        user: Option<&UserId>,
        erase: impl AsyncFn() -> Result<u64, Error>,
    ) -> Result<Erased, Error> {
        let mut sessions = 0;
        for round in 0..ROUNDS {
            let found = self.close_all(tenant, user).await?;
            if round > 0 && !found {
                break;
            }
            let (workspaces, name, owner) =
                (Arc::clone(&self.workspaces), tenant.name.clone(), user.cloned());
            off_the_worker(move || match owner {
                Some(user) => workspaces.remove_user(&name, &user),
                None => workspaces.remove_tenant(&name),
            })
            .await?;
            sessions += erase().await?;
            self.authentication.forget_all();
            self.known.forget(tenant.id);
        }
        if user.is_none() {
            let removed = self.agents.remove_checkpoints_of(tenant.id).await;
            removed.map_err(|error| Error::Internal {
                action: "the tenant's checkpoints were not removed",
                source: Box::new(error),
            })?;
        }
        self.free().await?;
        Ok(Erased { sessions })
    }

    /// Writes what belongs to a tenant, or to one of its users, into a file without a name, as JSON lines: the records of an
    /// archive, and the files in pieces.
    pub async fn export(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        user: Option<&UserId>,
    ) -> Result<File, Error> {
        let tenant = self.tenants.get(caller, tenant).await?;
        let now = self.clock.now();
        let (action, target) = match user {
            Some(user) => (AuditAction::UserExported, user.to_string()),
            None => (AuditAction::TenantExported, tenant.name.to_string()),
        };
        let note = AuditNote::by(caller, now, tenant.id, action, &target);
        self.store.append_audit(&[note]).await?;
        let mut file = tempfile::tempfile().map_err(|error| failed(Box::new(error)))?;
        let head = json!({"format": "paddock-part", "version": 1, "tenant": tenant.name, "user": user});
        writeln!(file, "{head}").map_err(|error| failed(Box::new(error)))?;
        let out = BufWriter::new(&mut file);
        let records = archive::export_part(&*self.store, tenant.id, user, out)
            .await
            .map_err(|error| failed(Box::new(error)))?;
        let (workspaces, user) = (Arc::clone(&self.workspaces), user.cloned());
        tokio::task::spawn_blocking(move || {
            let mut pieces = 0;
            match workspaces.tree(&tenant.name, user.as_ref()) {
                Ok(tree) => {
                    let mut out = BufWriter::new(&mut file);
                    pieces = write_files(&tree, "", DEPTH_MAX, &mut out)?;
                    out.flush()?;
                }
                Err(WorkspaceError::Missing) => {}
                Err(error) => return Err(std::io::Error::other(error)),
            }
            writeln!(file, "{}", json!({"end": {"records": records + pieces}}))?;
            file.rewind()?;
            Ok(file)
        })
        .await
        .map_err(|error| failed(Box::new(error)))?
        .map_err(|error| failed(Box::new(error)))
    }

    /// Closes the sessions of a user, or of all users, and ends their agents; whether there were any.
    async fn close_all(&self, tenant: &Tenant, user: Option<&UserId>) -> Result<bool, Error> {
        let filter = SessionFilter {
            user: user.cloned(),
            ..SessionFilter::default()
        };
        let mut before = None;
        let mut any = false;
        loop {
            let page = self
                .store
                .list_sessions(tenant.id, &filter, before, BATCH)
                .await?;
            for session in &page.items {
                any = true;
                self.close(tenant.id, session.id).await?;
            }
            match page.next {
                Some(next) => before = Some(next),
                None => return Ok(any),
            }
        }
    }

    async fn close(&self, tenant: TenantId, session: crate::domain::SessionId) -> Result<(), Error> {
        self.store
            .close_session(tenant, session, self.clock.now())
            .await?;
        self.agents.close(tenant, session).await;
        self.agents.remove_checkpoints(tenant, session).await;
        Ok(())
    }

    /// Frees what removed sessions left.
    async fn free(&self) -> Result<(), Error> {
        while self.store.purge_removed(BATCH).await? > 0 {}
        Ok(self.store.scrub().await?)
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Internal {
        action: "what belongs to a user was not written",
        source,
    }
}

async fn off_the_worker(
    work: impl FnOnce() -> Result<(), WorkspaceError> + Send + 'static,
) -> Result<(), Error> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| failed(Box::new(error)))??)
}

/// Writes the files of a folder, in pieces; how many lines. Links are told and not followed.
fn write_files(dir: &Dir, path: &str, depth: u32, out: &mut impl Write) -> std::io::Result<u64> {
    let mut lines = 0;
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let inner = format!("{path}{}", name.to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            lines += write_files(&entry.open_dir()?, &format!("{inner}/"), depth - 1, out)?;
        } else if kind.is_symlink() {
            let to = dir.read_link_contents(&name)?;
            writeln!(
                out,
                "{}",
                json!({"record": "link", "path": inner, "to": to.to_string_lossy()})
            )?;
            lines += 1;
        } else if kind.is_file() {
            lines += write_file(&mut entry.open()?, &inner, out)?;
        }
    }
    Ok(lines)
}

fn write_file(file: &mut cap_std::fs::File, path: &str, out: &mut impl Write) -> std::io::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let (mut offset, mut lines) = (0_u64, 0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 && lines > 0 {
            return Ok(lines);
        }
        let bytes = piece.get(..read).unwrap_or_default();
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let line = json!({"record": "file", "path": path, "offset": offset, "data": data});
        writeln!(out, "{line}")?;
        offset += read as u64;
        lines += 1;
        if read == 0 {
            return Ok(lines);
        }
    }
}
