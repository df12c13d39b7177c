//! Tenants, keys and the audit from the command line. It works on the store itself, beside servers that run on it; they
//! follow within seconds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{open_stored, print, runtime};
use crate::api::v1::{
    audit::AuditView, keys::CreatedKeyView, keys::KeyView, tenants::TenantView, usage::UsageView,
};
use crate::domain::{
    Clock as _, KeyId, Principal, Role, SystemClock, TenantChange, TenantLimits, TenantName, TenantPolicy,
    UsageGroup, UsageQuery, UserId,
};
use crate::service::{NewKey, TenantService, verify_audit};
use crate::settings::Settings;
use crate::startup::access::administration;
use crate::store::Store;

/// How many entries are read at once.
const PAGE: u32 = 500;

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// As JSON, as the API has it; a list has an entry a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Make a tenant.
    Create {
        /// Its name.
        name: TenantName,
        #[command(flatten)]
        output: Output,
    },
    /// List tenants.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Change a tenant's policy or its limits, each as a whole.
    Update {
        /// Its name.
        name: TenantName,
        /// What its sessions may ask for, as JSON, as the API has it.
        #[arg(long, value_parser = from_json::<Box<TenantPolicy>>)]
        policy: Option<Box<TenantPolicy>>,
        /// How much it may ask for, as JSON, as the API has it.
        #[arg(long, value_parser = from_json::<TenantLimits>)]
        limits: Option<TenantLimits>,
        #[command(flatten)]
        output: Output,
    },
    /// Refuse a tenant's credentials from now on.
    Suspend {
        /// Its name.
        name: TenantName,
        #[command(flatten)]
        output: Output,
    },
    /// Take a tenant's credentials again.
    Unsuspend {
        /// Its name.
        name: TenantName,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key, and print it: this once.
    Create {
        /// The tenant.
        #[arg(long, default_value = "default")]
        tenant: TenantName,
        /// What people call it.
        #[arg(long)]
        name: String,
        /// What it allows: reader, member, owner, admin.
        #[arg(long, default_value = "member")]
        role: Role,
        /// The one user that it acts for.
        #[arg(long)]
        user: Option<UserId>,
        /// How long it lives: 90d, say.
        #[arg(long, value_parser = humantime_serde::re::humantime::parse_duration)]
        expires_in: Option<Duration>,
        /// A network that it may be used from; may be given again.
        #[arg(long)]
        network: Vec<IpNet>,
        #[command(flatten)]
        output: Output,
    },
    /// List a tenant's keys.
    List {
        /// The tenant.
        #[arg(long, default_value = "default")]
        tenant: TenantName,
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a key.
    Revoke {
        /// The tenant.
        #[arg(long, default_value = "default")]
        tenant: TenantName,
        /// The key's id.
        key: KeyId,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct UsageArguments {
    /// One tenant's alone.
    #[arg(long)]
    tenant: Option<TenantName>,
    /// From then on: 2026-11-01T00:00:00Z, say.
    #[arg(long)]
    from: Option<DateTime<Utc>>,
    /// Before then.
    #[arg(long)]
    before: Option<DateTime<Utc>>,
    /// What sums are told apart by: day, tenant, user, key, session, model; may be given again.
    #[arg(long)]
    by: Vec<UsageGroup>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List the audit, newest first.
    List {
        /// One tenant's alone.
        #[arg(long)]
        tenant: Option<TenantName>,
        /// How many entries at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Check that nothing in the audit was changed.
    Verify {
        #[command(flatten)]
        output: Output,
    },
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// What the commands work with.
struct Office {
    store: Arc<dyn Store>,
    service: TenantService,
    operator: Principal,
}

/// Does something with the store of these settings, and lets go of it.
fn with_office(
    settings: &Settings,
    work: impl AsyncFnOnce(&Office) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let store = open_stored(settings).await?;
        let (service, operator) = administration(settings, &store).await?;
        let office = Office {
            store,
            service,
            operator,
        };
        let done = work(&office).await;
        office.store.close().await;
        done
    })
}

/// Prints a view as JSON, or what is made of it for people.
fn show<V: Serialize>(output: Output, view: &V, words: impl FnOnce() -> String) -> anyhow::Result<()> {
    if output.json {
        print(&serde_json::to_string(view).context("the answer cannot be written as JSON")?)
    } else {
        print(&words())
    }
}

pub(super) fn tenant(settings: &Settings, command: &TenantCommand) -> anyhow::Result<()> {
    with_office(settings, async |office| {
        let (service, operator) = (&office.service, &office.operator);
        let suspend = async |name: &TenantName, suspended: bool, output: Output| {
            let change = TenantChange {
                suspended: Some(suspended),
                ..TenantChange::default()
            };
            let changed = service.update(operator, name, &change).await?;
            let word = if suspended { "is suspended" } else { "can be used" };
            show(output, &TenantView::from(changed), || format!("{name} {word}"))
        };
        match command {
            TenantCommand::Create { name, output } => {
                let made = service
                    .create(operator, name.clone(), TenantChange::default())
                    .await?;
                let words = format!("{}  {}", made.name, made.id);
                show(*output, &TenantView::from(made), || words)
            }
            TenantCommand::Update {
                name,
                policy,
                limits,
                output,
            } => {
                let change = TenantChange {
                    suspended: None,
                    policy: policy.as_deref().cloned(),
                    limits: *limits,
                };
                let changed = service.update(operator, name, &change).await?;
                show(*output, &TenantView::from(changed), || {
                    format!("{name} is changed")
                })
            }
            TenantCommand::Suspend { name, output } => suspend(name, true, *output).await,
            TenantCommand::Unsuspend { name, output } => suspend(name, false, *output).await,
            TenantCommand::List { output } => {
                let mut after = None;
                loop {
                    let page = service.list(operator, after, PAGE).await?;
                    for tenant in page.items {
                        let state = tenant
                            .suspended_at
                            .map_or(String::new(), |since| format!("  suspended since {since}"));
                        let words = format!("{}  {}{state}", tenant.name, tenant.id);
                        show(*output, &TenantView::from(tenant), || words)?;
                    }
                    match page.next {
                        Some(next) => after = Some(next),
                        None => return Ok(()),
                    }
                }
            }
        }
    })
}

pub(super) fn key(settings: &Settings, command: &KeyCommand) -> anyhow::Result<()> {
    with_office(settings, async |office| {
        let (service, operator) = (&office.service, &office.operator);
        match command {
            KeyCommand::Create {
                tenant,
                name,
                role,
                user,
                expires_in,
                network,
                output,
            } => {
                let new = NewKey {
                    name: name.clone(),
                    role: *role,
                    user: user.clone(),
                    expires_at: expires_in.map(ahead).transpose()?,
                    networks: network.clone(),
                };
                let (key, secret) = service.create_key(operator, tenant, new).await?;
                let words = secret.expose_secret().to_owned();
                show(*output, &CreatedKeyView::new(&secret, key), || words)
            }
            KeyCommand::Revoke { tenant, key, output } => {
                let revoked = service.revoke_key(operator, tenant, *key).await?;
                show(*output, &KeyView::from(revoked), || format!("{key} is revoked"))
            }
            KeyCommand::List { tenant, output } => {
                let mut before = None;
                loop {
                    let page = service.list_keys(operator, tenant, before, PAGE).await?;
                    for key in page.items {
                        let state = if key.is_over(SystemClock.now()) {
                            "  over"
                        } else {
                            ""
                        };
                        let user = key
                            .user
                            .as_ref()
                            .map_or(String::new(), |user| format!("  user {user}"));
                        let words = format!("{}  {}  {}{user}{state}", key.id, key.role, key.name);
                        show(*output, &KeyView::from(key), || words)?;
                    }
                    match page.next {
                        Some(next) => before = Some(next),
                        None => return Ok(()),
                    }
                }
            }
        }
    })
}

fn ahead(duration: Duration) -> anyhow::Result<DateTime<Utc>> {
    let delta = chrono::TimeDelta::from_std(duration).context("--expires-in is too long")?;
    SystemClock
        .now()
        .checked_add_signed(delta)
        .context("--expires-in is too long")
}

pub(super) fn usage(settings: &Settings, arguments: &UsageArguments) -> anyhow::Result<()> {
    with_office(settings, async |office| {
        let query = UsageQuery {
            from: arguments.from,
            before: arguments.before,
            by: arguments.by.clone(),
            ..UsageQuery::default()
        };
        let tenant = match &arguments.tenant {
            Some(name) => Some(office.service.get(&office.operator, name).await?.id),
            None => None,
        };
        let sums = office.store.sum_usage(tenant, &query).await?;
        if !arguments.output.json {
            print(UsageView::COLUMNS)?;
        }
        for sum in sums {
            let view = UsageView::from(sum);
            show(arguments.output, &view, || view.line())?;
        }
        Ok(())
    })
}

pub(super) fn audit(settings: &Settings, command: &AuditCommand) -> anyhow::Result<()> {
    with_office(settings, async |office| match command {
        AuditCommand::List {
            tenant,
            limit,
            output,
        } => {
            let page = office
                .service
                .audit(&office.operator, tenant.as_ref(), None, *limit)
                .await?;
            for record in page.items {
                let note = &record.note;
                let words = format!(
                    "{}  {}  {}  {}  {}",
                    record.number, note.at, note.actor, note.action, note.target
                );
                show(*output, &AuditView::from(record), || words)?;
            }
            Ok(())
        }
        AuditCommand::Verify { output } => {
            let last = verify_audit(&*office.store).await?;
            let (entries, hash) =
                last.map_or((0, String::new()), |(number, hash)| (number, hash.to_string()));
            let view = serde_json::json!({"entries": entries, "hash": hash});
            show(*output, &view, || {
                format!("{entries} entries, none changed; the last has hash {hash}")
            })
        }
    })
}
