//! One operating-system process of the CLI: started as the leader of its own group, ended with its whole group.
//!
//! This is the only place that starts processes. It knows nothing of what flows through the pipes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::guardian;
use crate::jail::{self, Jail, Level};

/// What to start.
#[derive(Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, OsString>,
    /// The folder it starts in.
    pub working_dir: PathBuf,
    /// The program that guards it (see [`crate::guardian`]); without one, its group is all that ends with it.
    pub guardian: Option<PathBuf>,
    /// The jail that it is put into by its guardian's child.
    pub jail: Option<Jail>,
}

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// The program may not be executed.
    #[error("{} is not an executable file", .0.display())]
    NotExecutable(PathBuf),
    /// The system refused.
    #[error("{} could not be started", path.display())]
    Refused {
        /// The program.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A started process. Dropping it kills it, and what it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    hold: Hold,
    in_namespaces: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// What bubblewrap adds to the number of the signal that ended its program.
const SIGNALLED: i32 = 128;

impl ExitStatus {
    /// What the program's own end was, where bubblewrap told of it.
    fn seen_through(self, bubblewrap: bool) -> Self {
        match self.code {
            Some(code) if bubblewrap && code > SIGNALLED => Self {
                code: None,
                signal: Some(code - SIGNALLED),
            },
            _ => self,
        }
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }
    }
}

/// A process's three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// What it reads.
    pub stdin: ChildStdin,
    /// What it writes.
    pub stdout: ChildStdout,
    /// What it complains of.
    pub stderr: ChildStderr,
}

impl Process {
    /// Starts `program` with an environment of its own and as the leader of a new group.
    pub fn start(program: &Program) -> Result<(Self, Pipes), StartError> {
        let refused = |source: io::Error| StartError::Refused {
            path: program.path.clone(),
            source,
        };
        let jail = program.jail.as_ref().map(Jail::to_variable).transpose();
        let jail = jail.map_err(|error| refused(error.into()))?;
        if jail.is_some() && program.guardian.is_none() {
            return Err(refused(io::Error::other("without a guardian there is no jail")));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that starts processes"
        )]
        let mut command = Command::new(program.guardian.as_ref().unwrap_or(&program.path));
        if program.guardian.is_some() {
            command.arg0("paddock");
            command.args(guardian::arguments(
                std::process::id(),
                &program.path,
                &program.arguments,
            ));
        } else {
            command.args(&program.arguments);
        }
        command
            .env_clear()
            .envs(&program.environment)
            .envs(jail.map(|jail| (jail::VARIABLE, jail)))
            .current_dir(&program.working_dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A guardian ends by itself, when it has ended what it guards.
            .kill_on_drop(program.guardian.is_none());
        let mut child = command.spawn().map_err(|source| explain(&program.path, source))?;
        let hold = Hold::on(&child, program.guardian.is_some());
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(refused(io::Error::other("a pipe is missing")));
        };
        Ok((
            Self {
                child,
                hold,
                in_namespaces: program
                    .jail
                    .as_ref()
                    .is_some_and(|jail| jail.level == Level::Namespaces),
            },
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    /// Its process id, while it has not been waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, then kills what it left behind in its group. Cancel-safe.
    pub async fn ended(&mut self) -> ExitStatus {
        use std::os::unix::process::ExitStatusExt as _;
        let status = match self.child.wait().await {
            Ok(status) => ExitStatus {
                code: status.code(),
                signal: status.signal(),
            }
            .seen_through(self.in_namespaces),
            Err(_) => ExitStatus {
                code: None,
                signal: None,
            },
        };
        self.hold.let_go();
        status
    }

    /// Asks its group to end (SIGTERM).
    pub fn terminate(&self) {
        self.hold.signal(Signal::TERM);
    }

    /// Kills it, and what it started (SIGKILL).
    pub fn kill(&self) {
        self.hold.kill();
    }
}

/// How a process, and what it started, is ended; killed when dropped.
#[derive(Debug)]
enum Hold {
    /// Through its group.
    Group(Pid),
    /// Through its guardian.
    Guardian(Pid),
    /// It has ended.
    Ended,
}

impl Hold {
    fn on(child: &Child, guarded: bool) -> Self {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        match pid {
            Some(pid) if guarded => Self::Guardian(pid),
            Some(pid) => Self::Group(pid),
            None => Self::Ended,
        }
    }

    fn signal(&self, signal: Signal) {
        let (pid, sent) = match self {
            Self::Group(pid) => (pid, kill_process_group(*pid, signal)),
            Self::Guardian(pid) => (pid, kill_process(*pid, signal)),
            Self::Ended => return,
        };
        if let Err(error) = sent
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, agent.pid = pid.as_raw_nonzero().get(), "a process took no signal");
        }
    }

    fn kill(&self) {
        // A guardian kills on this signal, and then ends; killed itself, it could not.
        self.signal(if matches!(self, Self::Guardian(_)) {
            Signal::QUIT
        } else {
            Signal::KILL
        });
    }

    /// Its process has been waited for: what is left of its group is killed, and its id may soon be another's.
    fn let_go(&mut self) {
        if matches!(self, Self::Group(_)) {
            self.kill();
        }
        *self = Self::Ended;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The system's "not found" may mean the program, its interpreter or the folder; a look at the program tells.
fn explain(path: &Path, source: io::Error) -> StartError {
    match check_executable(path) {
        Err(error) => error,
        Ok(()) => StartError::Refused {
            path: path.to_owned(),
            source,
        },
    }
}

/// Whether `path` is a file that this process may execute.
pub fn check_executable(path: &Path) -> Result<(), StartError> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StartError::Missing(path.to_owned()),
        _ => StartError::Refused {
            path: path.to_owned(),
            source,
        },
    })?;
    let executable = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if metadata.is_file() && executable {
        Ok(())
    } else {
        Err(StartError::NotExecutable(path.to_owned()))
    }
}

/// The program that `name` means: itself when it holds a slash, else the first of its name in `search_path`.
pub fn locate(name: &Path, search_path: &str) -> Result<PathBuf, StartError> {
    if name.components().count() > 1 {
        check_executable(name)?;
        // The child starts in another folder, from where a relative path would mean something else.
        return std::path::absolute(name).map_err(|source| StartError::Refused {
            path: name.to_owned(),
            source,
        });
    }
    search_path
        .split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| check_executable(candidate).is_ok())
        .ok_or_else(|| StartError::Missing(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::from([("PATH".to_owned(), OsString::from("/usr/bin:/bin"))]),
            working_dir: "/".into(),
            guardian: None,
            jail: None,
        }
    }

    fn is_alive(pid: i32) -> bool {
        // A zombie has ended; only its parent has not looked yet.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    }

    async fn until_gone(pid: i32) {
        tokio::time::timeout(Duration::from_secs(10), async {
            while is_alive(pid) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the process ends");
    }

    #[tokio::test]
    async fn a_process_sees_only_the_environment_it_is_given() {
        let (mut process, mut pipes) = Process::start(&shell("env")).unwrap();
        let mut seen = String::new();
        pipes.stdout.read_to_string(&mut seen).await.unwrap();
        assert_eq!(
            process.ended().await,
            ExitStatus {
                code: Some(0),
                signal: None
            }
        );
        let names: Vec<_> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(
            names
                .iter()
                .all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)),
            "{names:?}"
        );
    }

    #[tokio::test]
    async fn what_a_process_leaves_behind_ends_with_it() {
        let (mut process, pipes) = Process::start(&shell("sleep 1000 & echo $!; exit 3")).unwrap();
        let pid = BufReader::new(pipes.stdout)
            .lines()
            .next_line()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(process.ended().await.code, Some(3));
        until_gone(pid.parse().unwrap()).await;
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_group_with_it() {
        let (process, pipes) = Process::start(&shell("trap '' TERM; sleep 1000 & echo $!; wait")).unwrap();
        let pid = BufReader::new(pipes.stdout)
            .lines()
            .next_line()
            .await
            .unwrap()
            .unwrap();
        drop(process);
        until_gone(pid.parse().unwrap()).await;
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told_apart_from_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("claude");
        assert!(matches!(locate(&file, ""), Err(StartError::Missing(_))));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(locate(&file, ""), Err(StartError::NotExecutable(_))));
        assert!(matches!(
            locate(folder.path(), ""),
            Err(StartError::NotExecutable(_))
        ));
        assert!(matches!(
            locate(Path::new("no-such-program"), "/usr/bin:/bin"),
            Err(StartError::Missing(_))
        ));
        assert_eq!(
            locate(Path::new("sh"), "relative:/nowhere:/bin").unwrap(),
            Path::new("/bin/sh")
        );
    }
}
