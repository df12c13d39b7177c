//! Namespaces, by bubblewrap: a file system of which only what is granted is there, process ids of its own, a `/proc`,
//! `/tmp` and `/dev` of its own.
//!
//! bubblewrap starts this program again inside, which then puts Landlock and seccomp on. Its arguments name tenants'
//! folders, so they go through a file that has no name, and not over the command line.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::{Access, Grant, Jail, JailError, files};
use crate::guardian::{INNER_COMMAND, OWN_PROGRAM};

pub(super) fn enter(jail: &Jail, program: &Path, arguments: &[OsString]) -> Result<Infallible, JailError> {
    // Kept open across the start of bubblewrap, and closed before the CLI's.
    let own_program = rustix::fs::open(OWN_PROGRAM, OFlags::PATH, Mode::empty())
        .map_err(JailError::step("opening this program"))?;
    let given = hand_over(&bubblewrap_arguments(jail, program))
        .map_err(JailError::step("handing arguments to bubblewrap"))?;
    #[expect(clippy::disallowed_methods, reason = "this process becomes the program")]
    let mut command = Command::new(&jail.bubblewrap);
    let refused = command
        .args(["--args", &given.as_raw_fd().to_string(), "--"])
        .arg(format!("/proc/self/fd/{}", own_program.as_raw_fd()))
        .args([INNER_COMMAND, "--inside"])
        .arg(program)
        .args(arguments)
        .exec();
    Err(JailError::step("starting bubblewrap")(refused))
}

/// A file without a name that holds these, each ended by a zero byte, to be read from its beginning.
fn hand_over(arguments: &[OsString]) -> std::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("arguments", MemfdFlags::empty())?;
    let mut bytes = Vec::new();
    for argument in arguments {
        bytes.extend_from_slice(argument.as_bytes());
        bytes.push(0);
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at += rustix::io::pwrite(&file, rest, at as u64)?;
    }
    Ok(file)
}

fn bubblewrap_arguments(jail: &Jail, program: &Path) -> Vec<OsString> {
    let mut view = View::default();
    view.say([
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--die-with-parent",
    ]);
    if rustix::process::geteuid().is_root() {
        view.say(["--cap-drop", "ALL"]);
        // It becomes the tenant's user inside, when it has opened that user's folders; and it gives up the rest.
        for needed in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH"] {
            view.say(["--cap-add", needed]);
        }
    } else {
        view.say(["--unshare-user"]);
    }
    for path in files::system() {
        match std::fs::read_link(path) {
            // `/bin`, say, which leads into `/usr`.
            Ok(target) if path.parent() == Some(Path::new("/")) => {
                view.say([OsString::from("--symlink"), target.into(), path.into()]);
            }
            // A file that is replaced by a link to elsewhere: what it leads to is shown in its place.
            _ => view.bind("--ro-bind-try", path),
        }
    }
    view.say(["--proc", "/proc", "--dev", "/dev"]);
    view.say([
        "--size",
        &jail.limits.shared_memory_bytes.to_string(),
        "--perms",
        "1777",
        "--tmpfs",
        "/dev/shm",
    ]);
    view.bind_as("--bind", &jail.temporary_dir, Path::new("/tmp"));
    view.say([
        "--ro-bind-try",
        "/sys/devices/system/cpu",
        "/sys/devices/system/cpu",
    ]);
    view.bind("--ro-bind", program);
    // Outer folders before those in them, whose access may be another.
    let mut grants: Vec<&Grant> = jail.grants.iter().chain([&jail.working_dir]).collect();
    grants.sort_by_key(|grant| grant.path.components().count());
    for grant in grants {
        let how = match grant.access {
            Access::Read => "--ro-bind",
            Access::Write => "--bind",
        };
        view.bind(how, &grant.path);
    }
    view.say([OsString::from("--chdir"), jail.working_dir.path.clone().into()]);
    view.arguments
}

/// The file system that is built up for an agent.
#[derive(Default)]
struct View {
    arguments: Vec<OsString>,
}

impl View {
    fn say<T: Into<OsString>>(&mut self, arguments: impl IntoIterator<Item = T>) {
        self.arguments.extend(arguments.into_iter().map(Into::into));
    }

    fn bind(&mut self, how: &str, path: &Path) {
        self.bind_as(how, path, path);
    }

    fn bind_as(&mut self, how: &str, path: &Path, shown_as: &Path) {
        // The folders on the way are made here, since bubblewrap closes to other users those that it makes by itself.
        let mut on_the_way: Vec<_> = shown_as.ancestors().skip(1).collect();
        on_the_way.reverse();
        for folder in on_the_way.into_iter().filter(|folder| folder.parent().is_some()) {
            self.say([
                OsString::from("--perms"),
                "0755".into(),
                "--dir".into(),
                folder.into(),
            ]);
        }
        self.say([OsString::from(how), path.into(), shown_as.into()]);
    }
}
