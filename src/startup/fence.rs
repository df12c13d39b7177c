//! What fences agents in here: the strongest jail that is wanted and holds when it is tried.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::agent::control_group::ControlGroups;
use crate::agent::fence::{Fence, Users};
use crate::agent::home::Homes;
use crate::agent::launch::Means;
use crate::agent::process::locate;
use crate::domain::{SessionId, SystemClock, TenantId};
use crate::jail::trial::{self, Unfit};
use crate::jail::{self, Grant, Level, Limits, Network};
use crate::settings::{IsolationLevel, IsolationScope, PluginSettings, Settings};

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The one that is asked for does not hold.
    #[error(
        "isolation.level is {level}, and that does not hold here: {reason}. {hint}Set isolation.level to none to run agents \
         without a fence"
    )]
    Unfit {
        /// Which one.
        level: Level,
        /// Why not.
        reason: String,
        /// What may be done.
        hint: String,
    },
    /// None holds, and one is needed.
    #[error(
        "no jail for agents holds here ({reasons}), and more than one user can exist. {hint}Set isolation.level to none to run \
         agents without a fence, where each can read what all others and the server have"
    )]
    NoneHolds {
        /// Why not, one by one.
        reasons: String,
        /// What may be done.
        hint: String,
    },
}

/// Finds what fences agents in, by trying it. `program` is this very program.
pub(super) async fn build(
    settings: &Settings,
    program: Option<&Path>,
    homes: &Homes,
) -> Result<Fence, FenceError> {
    let wanted = settings.isolation.level;
    let levels: &[Level] = match wanted {
        IsolationLevel::None => &[],
        IsolationLevel::Landlock => &[Level::Landlock],
        IsolationLevel::Namespaces => &[Level::Namespaces],
        IsolationLevel::Best => &[Level::Namespaces, Level::Landlock],
    };
    let users = if levels.is_empty() { None } else { users(settings) };
    let mut reasons = Vec::new();
    for level in levels {
        match try_level(settings, *level, users, program, homes).await {
            Ok(fence) => {
                tracing::info!(isolation.level = %level, isolation.passed_over = ?reasons, "agents are fenced in, as was tried");
                return Ok(fence);
            }
            Err(reason) => reasons.push(format!("{level}: {reason}")),
        }
    }
    let hint = hint(settings);
    if let (Some(reason), false) = (reasons.first(), wanted == IsolationLevel::Best) {
        return Err(FenceError::Unfit {
            level: *levels.first().unwrap_or(&Level::None),
            reason: reason.clone(),
            hint,
        });
    }
    if wanted == IsolationLevel::Best
        && settings.needs_jail()
        && (jail::IS_SUPPORTED || !settings.api.host.is_loopback())
    {
        return Err(FenceError::NoneHolds {
            reasons: reasons.join("; "),
            hint,
        });
    }
    tracing::warn!(
        isolation.passed_over = ?reasons,
        "AGENTS ARE NOT FENCED IN: each can read what all others and the server have (isolation.level)"
    );
    Ok(Fence::none())
}

/// For what a server that is root most often lacks.
fn hint(settings: &Settings) -> String {
    if rustix::process::geteuid().is_root() && settings.isolation.first_uid.is_some() {
        "Agents run under users of their own (isolation.first_uid): the folders above user.base_dir, agent.homes_dir, \
         the CLI and this program must let other users pass, or bubblewrap must be installed. "
            .to_owned()
    } else {
        String::new()
    }
}

async fn try_level(
    settings: &Settings,
    level: Level,
    users: Option<Users>,
    program: Option<&Path>,
    homes: &Homes,
) -> Result<Fence, String> {
    let program = program.ok_or("there are no jails on this system")?;
    let search_path = search_path();
    let mut fence = wanted_fence(settings, level, users);
    if level == Level::Namespaces {
        fence.bubblewrap = locate(&settings.isolation.bubblewrap_path, &search_path)
            .map_err(|error| format!("{error} (isolation.bubblewrap_path)"))?;
    }
    if let Some(groups) = &fence.control_groups {
        groups.prepare().map_err(|error| {
            format!(
                "{} cannot be used: {error} (isolation.control_group)",
                groups.folder.display()
            )
        })?;
    }
    let cli = locate(&settings.agent.cli_path, &search_path).ok();
    if level == Level::Landlock && fence.users.is_some() {
        let paths = [&settings.user.base_dir, &settings.agent.homes_dir];
        for path in paths.into_iter().chain(cli.as_ref()) {
            if let Some(closed) = closed_to_others(path) {
                return Err(format!(
                    "{} lets no other users pass to {}",
                    closed.display(),
                    path.display()
                ));
            }
        }
    }
    // A session that is nobody's.
    let (tenant, session) = (
        TenantId::generate(&SystemClock),
        SessionId::generate(&SystemClock),
    );
    let home = homes.of(tenant, session);
    let user = fence.users.map(|users| users.first);
    let prepared = home
        .create()
        .and_then(|_| user.map_or(Ok(()), |user| home.give_to(user)));
    let means = Means {
        user,
        ..Means::default()
    };
    let outside = home.path().with_file_name("outside");
    let tried = match prepared {
        Err(error) => Err(format!("a home cannot be made: {error}")),
        Ok(()) => match fence.of_nobody(&home, &means) {
            None => Ok(()),
            Some(jail) => trial::run(&jail, program, cli.as_deref(), &outside)
                .await
                .map_err(|unfit: Unfit| unfit.to_string()),
        },
    };
    let removed = home.path().parent().map_or(Ok(()), std::fs::remove_dir_all);
    if let Err(error) = removed {
        tracing::warn!(%error, "what a jail was tried with was not removed");
    }
    tried.map(|()| fence)
}

pub(super) fn search_path() -> String {
    let path = crate::settings::process_environment()
        .into_iter()
        .find(|(name, _)| name == "PATH");
    path.map_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned(), |(_, path)| path)
}

/// The first folder on the way to a path that only its owner passes.
fn closed_to_others(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let on_the_way: Vec<_> = path.ancestors().skip(1).collect();
    on_the_way.into_iter().rev().find_map(|folder| {
        let mode = std::fs::metadata(folder).ok()?.permissions().mode();
        (mode & 0o001 == 0).then(|| folder.to_owned())
    })
}

/// Whether this process can become these users: in a container's namespace there may be few.
fn are_there(users: Users) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    let last = u64::from(users.first) + u64::from(users.count);
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), _, Some(Ok(count))) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        first <= u64::from(users.first) && last <= first.saturating_add(count)
    })
}

/// The users that agents run under, where the server is root and there are such.
fn users(settings: &Settings) -> Option<Users> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let isolation = &settings.isolation;
    let users = isolation
        .first_uid
        .map(|first| Users {
            first,
            count: isolation.uids,
        })
        .filter(|users| are_there(*users));
    if users.is_none() {
        tracing::warn!(
            "agents run under the server's own user, without its rights: there are no others for them (isolation.first_uid)"
        );
    }
    users
}

fn wanted_fence(settings: &Settings, level: Level, users: Option<Users>) -> Fence {
    let isolation = &settings.isolation;
    let mut grants: Vec<_> = isolation
        .read_paths
        .iter()
        .map(|path| Grant::read(path))
        .collect();
    grants.extend(isolation.write_paths.iter().map(|path| Grant::write(path)));
    grants.extend(
        settings
            .plugins
            .iter()
            .map(|PluginSettings::Local { path }| Grant::read(path)),
    );
    let is_root = rustix::process::geteuid().is_root();
    // Processes of a user that is shared with the server and other agents are counted together.
    let counted_alone = users.is_some() || (level == Level::Namespaces && !is_root);
    let agents = if counted_alone {
        1
    } else {
        settings.agent.max_live as u64 + 1
    };
    Fence {
        level,
        network: Network {
            ports: isolation.network.ports().map(<[u16]>::to_vec),
            datagrams: isolation.network.has_name_service(),
        },
        whole_user: isolation.scope == IsolationScope::User,
        grants,
        limits: Limits {
            open_files: isolation.open_files_max,
            file_bytes: isolation.file_max_bytes,
            processes: isolation.processes_max.saturating_mul(agents),
            shared_memory_bytes: isolation.shared_memory_max_bytes,
        },
        users,
        control_groups: isolation.control_group.clone().map(|folder| ControlGroups {
            folder,
            memory_max_bytes: isolation.memory_max_bytes,
            processes_max: isolation.processes_max,
        }),
        bubblewrap: isolation.bubblewrap_path.clone(),
    }
}
