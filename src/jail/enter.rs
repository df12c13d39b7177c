//! How a process shuts itself in. It has a single thread, which is the one that becomes the program.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use rustix::thread::{
    CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::{Grant, Jail, JailError, Level, VARIABLE, calls, files, namespaces};

/// What other users may do with new files: nothing.
const PRIVATE: u32 = 0o077;

pub(super) fn enter(
    jail: &Jail,
    inside: bool,
    program: &Path,
    arguments: &[OsString],
) -> Result<Infallible, JailError> {
    if !inside {
        join_control_group(jail)?;
        limit(jail)?;
        rustix::process::umask(Mode::from_raw_mode(PRIVATE));
        if jail.level == Level::Namespaces {
            return namespaces::enter(jail, program, arguments);
        }
    }
    // Everything is opened before this process becomes a user that may not.
    let own_namespaces = jail.level == Level::Namespaces;
    let working_dir = open_working_dir(jail, own_namespaces)?;
    let rules = files::open_all(jail, &working_dir, program, own_namespaces)?;
    // Of whom it counts: the tenant's user, or the user namespace's own. bubblewrap was not to be bound by it.
    at_most(Resource::Nproc, jail.limits.processes)?;
    give_up_capabilities()?;
    if let Some(user) = jail.user {
        become_user(user)?;
        // Changing the user made the kernel forget it.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(JailError::step("ending with its guardian"))?;
    }
    set_no_new_privs(true).map_err(JailError::step("giving up new privileges"))?;
    let abi = files::restrict(&rules, &jail.network)?;
    let unix_sockets = own_namespaces || files::knows_unix_sockets(abi);
    calls::restrict(&jail.network, unix_sockets)?;
    close_fds::set_fds_cloexec(3, &[]);
    #[expect(clippy::disallowed_methods, reason = "this process becomes the program")]
    let mut command = Command::new(program);
    let refused = command.args(arguments).env_remove(VARIABLE).exec();
    Err(JailError::step("executing the program in it")(refused))
}

/// The folder that it begins in: this process is in it already, by the handle that the server had; or bubblewrap went
/// there by a path, which may have come to lead elsewhere.
fn open_working_dir(jail: &Jail, by_path: bool) -> Result<OwnedFd, JailError> {
    let grant = &jail.working_dir;
    let dir = open(&Grant {
        path: ".".into(),
        ..grant.clone()
    })
    .map_err(|error| match error {
        JailError::Swapped(_) => JailError::Swapped(grant.path.clone()),
        error => error,
    })?;
    if by_path {
        open(grant)?;
    }
    Ok(dir)
}

/// A handle on what a grant names, if it is what it should be.
pub(super) fn open(grant: &Grant) -> Result<OwnedFd, JailError> {
    let opened = rustix::fs::open(&grant.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let handle = opened.map_err(|errno| JailError::Open {
        path: grant.path.clone(),
        source: errno.into(),
    })?;
    if let Some(identity) = grant.identity {
        let found = rustix::fs::fstat(&handle).map_err(JailError::step("looking at what was opened"))?;
        #[expect(clippy::useless_conversion, reason = "the types differ between systems")]
        if (u64::from(found.st_dev), u64::from(found.st_ino)) != identity {
            return Err(JailError::Swapped(grant.path.clone()));
        }
    }
    Ok(handle)
}

/// From now on, what this process and its descendants use is counted there.
fn join_control_group(jail: &Jail) -> Result<(), JailError> {
    let Some(group) = &jail.control_group else {
        return Ok(());
    };
    let path = group.join("cgroup.procs");
    std::fs::write(&path, "0").map_err(|source| JailError::Open { path, source })
}

fn limit(jail: &Jail) -> Result<(), JailError> {
    let limits = &jail.limits;
    at_most(Resource::Core, 0)?;
    at_most(Resource::Nofile, limits.open_files)?;
    at_most(Resource::Fsize, limits.file_bytes)
}

fn at_most(resource: Resource, most: u64) -> Result<(), JailError> {
    let now = rustix::process::getrlimit(resource).maximum;
    let most = now.map_or(most, |now| now.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limit).map_err(JailError::step("limiting what it uses"))
}

/// No program that is executed gets any, not even under a user that is root.
fn give_up_capabilities() -> Result<(), JailError> {
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // There is nothing to give up, or the kernel does not know it.
            Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(JailError::step("giving up capabilities")(error)),
        }
    }
    Ok(())
}

fn become_user(user: u32) -> Result<(), JailError> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    let step = "becoming the tenant's user";
    set_thread_groups(&[]).map_err(JailError::step(step))?;
    set_thread_res_gid(gid, gid, gid).map_err(JailError::step(step))?;
    set_thread_res_uid(uid, uid, uid).map_err(JailError::step(step))
}
