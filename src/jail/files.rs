//! Landlock: which files, which TCP ports; no signals and no abstract sockets beyond the jail.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

use super::enter::open;
use super::{Access, Grant, Jail, JailError, Network};

/// The newest rules that are asked for; a kernel that has fewer gives what it has, and the trial tells what that is
/// worth.
const RULES: ABI = ABI::V9;

/// The system's programs and libraries. What is not there is left out.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
];

/// What programs and libraries need of the machine's settings. The rest of `/etc` may be the server's own.
const SETTINGS: &[&str] = &[
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/java",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/vim",
];

/// The files of `/proc` that tell of the machine, and of no process.
const MACHINE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/fs/file-max",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

/// The devices that hold nothing.
const DEVICES: &[&str] = &[
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// What is its own in namespaces of its own.
const OWN: &[&str] = &["/dev/ptmx", "/dev/pts", "/dev/shm", "/dev/tty", "/tmp"];

/// The system's own paths that every agent reads.
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    PROGRAMS.iter().chain(SETTINGS).map(Path::new)
}

/// What is open, and what for.
pub(super) type Rules = Vec<(OwnedFd, BitFlags<AccessFs>)>;

/// Opens all that the jail lets through.
pub(super) fn open_all(
    jail: &Jail,
    working_dir: &OwnedFd,
    program: &Path,
    own_namespaces: bool,
) -> Result<Rules, JailError> {
    let mut rules = Vec::new();
    let mut add = |handle: OwnedFd, access| -> Result<(), JailError> {
        let access = rights(&handle, access)?;
        rules.push((handle, access));
        Ok(())
    };
    let working_dir = working_dir
        .try_clone()
        .map_err(JailError::step("opening the working folder"))?;
    add(working_dir, Access::Write)?;
    for grant in &jail.grants {
        add(open(grant)?, grant.access)?;
    }
    add(open(&Grant::read(program))?, Access::Read)?;
    let machine: &[&str] = if own_namespaces {
        &["/proc", "/sys"]
    } else {
        MACHINE
    };
    for path in system().chain(machine.iter().map(Path::new)) {
        if let Ok(handle) = open(&Grant::read(path)) {
            add(handle, Access::Read)?;
        }
    }
    let own: &[&str] = if own_namespaces { OWN } else { &[] };
    for path in DEVICES.iter().chain(own).map(Path::new) {
        if let Ok(handle) = open(&Grant::write(path)) {
            add(handle, Access::Write)?;
        }
    }
    Ok(rules)
}

/// What Landlock calls an access; of a file that is no folder, what there is of it.
fn rights(handle: &OwnedFd, access: Access) -> Result<BitFlags<AccessFs>, JailError> {
    let all = match access {
        Access::Read => AccessFs::from_read(RULES),
        // Devices would be a way to what lies on them.
        Access::Write => AccessFs::from_all(RULES) & !(AccessFs::MakeBlock | AccessFs::MakeChar),
    };
    let found = rustix::fs::fstat(handle).map_err(JailError::step("looking at what was opened"))?;
    let is_folder = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
    Ok(if is_folder {
        all
    } else {
        all & AccessFs::from_file(RULES)
    })
}

/// Lets this process and its descendants touch these, and nothing else; the rules that the kernel has.
pub(super) fn restrict(rules: &Rules, network: &Network) -> Result<ABI, JailError> {
    let step = "restricting files and connections (Landlock)";
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))
        .map_err(JailError::step(step))?
        .scope(Scope::from_all(RULES))
        .map_err(JailError::step(step))?;
    if network.ports.is_some() {
        ruleset = ruleset
            .handle_access(AccessNet::from_all(RULES))
            .map_err(JailError::step(step))?;
    }
    let mut ruleset = ruleset.create().map_err(JailError::step(step))?;
    for (handle, access) in rules {
        ruleset = ruleset
            .add_rule(PathBeneath::new(handle.as_fd(), *access))
            .map_err(JailError::step(step))?;
    }
    for port in network.ports.iter().flatten() {
        ruleset = ruleset
            .add_rule(NetPort::new(*port, AccessNet::ConnectTcp))
            .map_err(JailError::step(step))?;
    }
    let status = ruleset.restrict_self().map_err(JailError::step(step))?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            Ok(effective_abi)
        }
        _ => Err(JailError::step(step)(
            "this kernel has no Landlock, or it is switched off",
        )),
    }
}

/// Whether the kernel's rules for files hold for Unix sockets too.
pub(super) fn knows_unix_sockets(abi: ABI) -> bool {
    abi >= ABI::V9
}
