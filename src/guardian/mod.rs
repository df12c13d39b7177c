//! The guardian of an agent: a small process between the server and the CLI that lets nothing of the agent outlive
//! either of them.
//!
//! It is the server's own program, started again. It adopts whatever the CLI's descendants leave behind, in whatever
//! group or session of their own, and kills all of it when the CLI ends, when it is told to, and when the server is
//! gone, however the server went: it watches the server's process, not one of its threads. Should the guardian itself be
//! killed, the kernel kills the CLI.
//!
//! SIGTERM is handed on to the CLI's group; SIGQUIT kills everything. On systems other than Linux there is no guardian.

pub mod tree;

use std::ffi::OsString;
use std::path::Path;

/// The hidden command of this program that is a guardian.
pub const COMMAND: &str = "agent-exec";
/// The hidden command of this program that becomes the CLI, in its jail, and ends with its guardian.
pub const INNER_COMMAND: &str = "jail-exec";

/// This program, also when its file has been replaced by a newer one meanwhile: as whoever starts it sees itself.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Whether this system can have guardians.
#[must_use]
pub const fn is_supported() -> bool {
    cfg!(target_os = "linux")
}

/// The arguments with which this program is the guardian of `program`.
pub fn arguments(server: u32, program: &Path, arguments: &[String]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec![COMMAND.into(), server.to_string().into(), program.into()];
    all.extend(arguments.iter().map(OsString::from));
    all
}

#[cfg(target_os = "linux")]
pub use linux::{end_with, run};
#[cfg(not(target_os = "linux"))]
pub use unsupported::{end_with, run};

#[cfg(not(target_os = "linux"))]
mod unsupported {
    use std::convert::Infallible;
    use std::ffi::OsString;
    use std::io;
    use std::path::Path;

    /// There are no guardians here.
    ///
    /// # Errors
    /// Always.
    pub fn run(_server: u32, _program: &Path, _arguments: &[OsString]) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There are no guardians here.
    ///
    /// # Errors
    /// Always.
    pub fn end_with(_guardian: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::convert::Infallible;
    use std::ffi::OsString;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::path::Path;
    use std::process::{Command, ExitStatus};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group, pidfd_open,
        set_child_subreaper, set_parent_process_death_signal, wait,
    };
    use tokio::signal::unix::{SignalKind, signal};

    use super::{INNER_COMMAND, OWN_PROGRAM, tree};

    /// How long is waited between two looks for what is left.
    const LOOK_AGAIN: Duration = Duration::from_millis(2);

    /// Starts `program` as the child of the process `server` would have it, guards it to its end, and ends as it did.
    ///
    /// # Errors
    /// What the system refuses before the program runs.
    pub fn run(server: u32, program: &Path, arguments: &[OsString]) -> io::Result<Infallible> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let status = runtime.block_on(guard(server, program, arguments))?;
        let (code, ended_by) = (status.code(), status.signal().and_then(Signal::from_named_raw));
        if let Some(signal) = ended_by {
            // Ends as the program did, where the signal is not one that this process handles.
            kill_process(getpid(), signal)?;
            std::thread::sleep(LOOK_AGAIN);
        }
        std::process::exit(code.unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// The kernel kills this process when its guardian dies.
    ///
    /// # Errors
    /// Why the kernel does not.
    pub fn end_with(guardian: u32) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died before the kernel was told.
        if pid(guardian)? != getppid().unwrap_or(Pid::INIT) {
            std::process::exit(1);
        }
        Ok(())
    }

    async fn guard(server: u32, program: &Path, arguments: &[OsString]) -> io::Result<ExitStatus> {
        let server = pid(server)?;
        set_child_subreaper(Some(getpid()))?;
        let server_ended = watch(pidfd_open(server, PidfdFlags::empty())?);
        // What the handle stands for is the server only if it still is the parent.
        if getppid() != Some(server) {
            std::process::exit(1);
        }
        let mut child_changed = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut quit = signal(SignalKind::quit())?;
        let _ignored = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);

        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one process that a guardian starts"
        )]
        let mut command = Command::new(OWN_PROGRAM);
        let child = command
            .arg(INNER_COMMAND)
            .args(["--guardian", &std::process::id().to_string()])
            .arg(program)
            .args(arguments)
            .process_group(0)
            .spawn()?;
        let child = pid(child.id())?;
        // The pipes are the CLI's alone: who waits for their end must not wait for this process.
        let nothing = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
        let_go_of_pipes(&nothing)?;

        let mut server_ended = std::pin::pin!(server_ended);
        let ended = loop {
            tokio::select! {
                _ = child_changed.recv() => {
                    if let Some(status) = reap(child) {
                        break status;
                    }
                }
                _ = terminate.recv() => { let _gone = kill_process_group(child, Signal::TERM); }
                _ = quit.recv() => { let _gone = kill_process_group(child, Signal::KILL); tree::kill_descendants(); }
                () = &mut server_ended => { let _gone = kill_process_group(child, Signal::KILL); break ExitStatus::from_raw(9); }
            }
        };
        // Whatever it started is this process's child by now, or a descendant of one.
        loop {
            tree::kill_descendants();
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_no_children) => return Ok(ended),
            }
        }
    }

    /// Tells when the process that this handle stands for has ended.
    fn watch(process: OwnedFd) -> impl Future<Output = ()> {
        let (ended, has_ended) = tokio::sync::oneshot::channel::<()>();
        // A thread of its own, since the wait blocks; it ends with this process.
        std::thread::spawn(move || {
            let mut handle = [PollFd::new(&process, PollFlags::IN)];
            while poll(&mut handle, None).is_err_and(|error| error == rustix::io::Errno::INTR) {}
            drop(ended);
        });
        async move {
            let _dropped = has_ended.await;
        }
    }

    fn let_go_of_pipes(nothing: &OwnedFd) -> io::Result<()> {
        rustix::stdio::dup2_stdin(nothing.as_fd())?;
        rustix::stdio::dup2_stdout(nothing.as_fd())?;
        rustix::stdio::dup2_stderr(nothing.as_fd())?;
        Ok(())
    }

    /// Takes note of children that ended; the status of `child`, if it is among them.
    fn reap(child: Pid) -> Option<ExitStatus> {
        while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
            if ended == child {
                return Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
        None
    }

    fn pid(number: u32) -> io::Result<Pid> {
        i32::try_from(number)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))
    }
}
