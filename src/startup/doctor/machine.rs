//! What the machine gives: kernel, folders, port, descriptors, memory.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::{Finding, nearest};
use crate::settings::{Settings, StorageKind};

/// What is left on a disk when it is told of, in bytes.
const FREE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The same of files.
const FREE_FILES: u64 = 100_000;
/// What a live agent takes at most, as measured, in bytes.
const AGENT_BYTES: u64 = 170 * 1024 * 1024;
/// Descriptors that an agent takes of the server's.
const AGENT_DESCRIPTORS: u64 = 8;
/// Descriptors that the server takes besides connections and agents.
const OWN_DESCRIPTORS: u64 = 128;

pub(super) fn kernel() -> Finding {
    const CHECK: &str = "kernel";
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    if !cfg!(target_os = "linux") {
        return Finding::warning(
            CHECK,
            format!("{} {release}", name.sysname().to_string_lossy()),
            "only Linux can fence agents in: serve one user, or run it in a virtual machine with Linux",
        );
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let modules = read("/sys/kernel/security/lsm");
    let namespaces = read("/proc/sys/user/max_user_namespaces");
    let mut facts = vec![format!("Linux {release}")];
    facts.push(match modules.trim() {
        "" => "which security modules run cannot be read".to_owned(),
        list if list.contains("landlock") => "Landlock runs".to_owned(),
        _ => "Landlock does not run".to_owned(),
    });
    facts.push(match namespaces.trim() {
        "" | "0" => "no user namespaces".to_owned(),
        most => format!("up to {most} user namespaces"),
    });
    // Whether that is enough is seen by trying the jail.
    Finding::ok(CHECK, facts.join(", "))
}

/// The folders that a server writes, each with what is left on its disk.
pub(super) fn folders(settings: &Settings) -> Vec<Finding> {
    let mut folders = vec![
        ("workspaces", "user.base_dir", settings.user.base_dir.clone()),
        ("homes", "agent.homes_dir", settings.agent.homes_dir.clone()),
    ];
    if settings.session.storage == StorageKind::Sqlite {
        let file = &settings.session.sqlite_path;
        let folder = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        folders.push(("database", "session.sqlite_path", folder.to_owned()));
    }
    let each = folders.into_iter();
    each.map(|(check, setting, path)| folder(check, setting, &path))
        .collect()
}

fn folder(check: &'static str, setting: &str, path: &Path) -> Finding {
    let shown = path.display();
    let Some(there) = nearest(path) else {
        return Finding::failed(
            check,
            format!("{shown} cannot be found"),
            format!("see {setting}"),
        );
    };
    if let Err(error) = write_in(&there) {
        return Finding::failed(
            check,
            format!("{} cannot be written: {error}", there.display()),
            format!("let the server's user write it, or set {setting}"),
        );
    }
    let Ok(disk) = rustix::fs::statvfs(&there) else {
        return Finding::warning(
            check,
            format!("{shown}: its disk does not tell what is left"),
            "watch it by other means",
        );
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found = format!("{shown}, {} MB free", free / 1_000_000);
    // A disk without a fixed number of files tells none at all.
    let few_files = disk.f_files > 0 && disk.f_favail < FREE_FILES;
    if free < FREE_BYTES || few_files {
        return Finding::warning(
            check,
            format!("{found}, {} files", disk.f_favail),
            "make room: when it is full, turns end as `store_unavailable` or by the agent's own errors",
        );
    }
    Finding::ok(check, found)
}

/// Makes a file and removes it.
fn write_in(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder).map(|_file| ())
}

/// Whether a server can listen where it is to.
pub(super) fn address(settings: &Settings) -> Finding {
    const CHECK: &str = "address";
    let address = SocketAddr::new(settings.api.host, settings.api.port);
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(CHECK, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::warning(
            CHECK,
            format!("{address} is taken"),
            "by a server that runs, perhaps; else set api.port",
        ),
        Err(error) => Finding::failed(
            CHECK,
            format!("{address} cannot be listened on: {error}"),
            "set api.host and api.port",
        ),
    }
}

/// Whether there are descriptors for all connections and agents.
pub(super) fn descriptors(settings: &Settings) -> Finding {
    const CHECK: &str = "descriptors";
    let agents = u64::try_from(settings.agent.max_live).unwrap_or(u64::MAX);
    let connections = u64::try_from(settings.api.max_connections).unwrap_or(u64::MAX);
    let wanted = agents
        .saturating_mul(AGENT_DESCRIPTORS)
        .saturating_add(connections)
        .saturating_add(OWN_DESCRIPTORS);
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < wanted => Finding::warning(
            CHECK,
            format!("{most} may be open, and {wanted} may be needed"),
            format!(
                "raise the limit (`LimitNOFILE={wanted}`, `ulimit -n {wanted}`), or lower api.max_connections"
            ),
        ),
        most => Finding::ok(
            CHECK,
            match most {
                Some(most) => format!("{most} may be open"),
                None => "as many as are wanted may be open".to_owned(),
            },
        ),
    }
}

/// Whether there is memory for as many agents as may live.
pub(super) fn memory(settings: &Settings) -> Finding {
    const CHECK: &str = "memory";
    let agents = u64::try_from(settings.agent.max_live).unwrap_or(u64::MAX);
    let wanted = agents.saturating_mul(AGENT_BYTES);
    let Some(there) = memory_bytes() else {
        return Finding::ok(CHECK, "how much there is cannot be read");
    };
    let found = format!(
        "{} MB; {agents} agents (agent.max_live) take up to {} MB",
        there / 1_000_000,
        wanted / 1_000_000
    );
    if wanted > there && settings.agent.memory_max_bytes == 0 {
        return Finding::warning(
            CHECK,
            found,
            "lower agent.max_live, or set agent.memory_max_bytes, so that idle agents make way",
        );
    }
    Finding::ok(CHECK, found)
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    // A container may have less; `max` stands for no limit.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some((kilobytes * 1024).min(limit.unwrap_or(u64::MAX)))
}
