//! What a jail is worth here: a process in it really tries to get at what is planted for it outside.
//!
//! A kernel may lack a rule, a container may forbid a call, a setting may undo what another does. So no level is
//! believed until nothing of this gets through.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoEnumIterator as _};

use super::{Grant, Jail, VARIABLE};
use crate::guardian::INNER_COMMAND;

/// The hidden command of this program that tries to get out.
pub const COMMAND: &str = "jail-trial";

/// How long a trial may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumIter, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// Read a file outside.
    #[strum(to_string = "read a file of the server")]
    ReadFile,
    /// List a folder outside.
    #[strum(to_string = "list a folder of the server")]
    ListFolder,
    /// Make a file outside.
    #[strum(to_string = "write a file outside of its folders")]
    WriteFile,
    /// See another process's command line.
    #[strum(to_string = "look at other processes")]
    LookAtProcess,
    /// Signal another process.
    #[strum(to_string = "signal other processes")]
    Signal,
    /// Connect to a TCP port that is not let through.
    #[strum(to_string = "connect to ports that it may not")]
    ConnectTcp,
    /// Connect to a Unix socket by its path.
    #[strum(to_string = "connect to Unix sockets of others")]
    ConnectUnix,
}

/// What lies outside, to be got at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bait {
    folder: PathBuf,
    process: u32,
    started: Option<String>,
    process_namespace: Option<PathBuf>,
    port: Option<u16>,
    cli: Option<PathBuf>,
}

/// When a process was started, in the kernel's own count: numbers of processes are used again, and in another namespace they
/// are others'.
fn started(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything; the time is the twentieth field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(ToOwned::to_owned)
}

/// What names this process's namespace of processes.
fn process_namespace() -> Option<PathBuf> {
    std::fs::read_link("/proc/self/ns/pid").ok()
}

impl Bait {
    /// Whether what has the server's number here is another process. Where that cannot be told, it counts as the server.
    fn is_another(&self) -> bool {
        matches!((&self.started, started(self.process)), (Some(server), Some(here)) if *server != here)
    }

    /// Whether numbers mean other processes here than where the server is, so that none of them is the server's.
    fn numbers_are_others(&self) -> bool {
        matches!((&self.process_namespace, process_namespace()), (Some(server), Some(here)) if *server != here)
    }

    fn secret(&self) -> PathBuf {
        self.folder.join("secret")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }
}

/// What came of a trial.
#[derive(Debug, Serialize, Deserialize)]
pub struct Findings {
    /// What got through.
    pub got_through: Vec<Attempt>,
    /// What should have gone, and did not, in words.
    pub kept_from_work: Option<String>,
}

/// Why a jail cannot be relied on here.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The trial could not be prepared.
    #[error("its trial cannot be prepared in {}", folder.display())]
    Unprepared {
        /// Where.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The jail was not entered.
    #[error("{0}")]
    NotEntered(String),
    /// It does not hold.
    #[error("it does not keep an agent from trying to {}", list(.0))]
    Leaks(Vec<Attempt>),
    /// It keeps an agent from its work.
    #[error("it keeps an agent from its work: {0}")]
    TooTight(String),
}

fn list(attempts: &[Attempt]) -> String {
    let words: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Puts a jail like this one on trial, with `program` (this very program) in it. What is planted lies in `folder`,
/// which is made here and is the caller's to remove. The CLI is to be within reach.
///
/// # Errors
/// Why it cannot be relied on.
pub async fn run(jail: &Jail, program: &Path, cli: Option<&Path>, folder: &Path) -> Result<(), Unfit> {
    let unprepared = |source| Unfit::Unprepared {
        folder: folder.to_owned(),
        source,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(unprepared)?;
    let port = listener.local_addr().map_err(unprepared)?.port();
    let bait = Bait {
        folder: folder.to_owned(),
        process: std::process::id(),
        started: started(std::process::id()),
        process_namespace: process_namespace(),
        port: jail.network.ports.as_ref().map(|_| port),
        cli: cli.map(ToOwned::to_owned),
    };
    std::fs::create_dir(folder).map_err(unprepared)?;
    std::fs::write(bait.secret(), "secret").map_err(unprepared)?;
    let _socket = UnixListener::bind(bait.socket()).map_err(unprepared)?;
    let mut jail = jail.clone();
    let own_path = own_path(program).map_err(unprepared)?;
    jail.grants.push(Grant::read(&own_path));
    jail.grants.extend(cli.map(Grant::read));
    let findings = try_it(&jail, program, &own_path, &bait).await?;
    if !findings.got_through.is_empty() {
        return Err(Unfit::Leaks(findings.got_through));
    }
    findings
        .kept_from_work
        .map_or(Ok(()), |what| Err(Unfit::TooTight(what)))
}

/// Where this very program lies.
fn own_path(program: &Path) -> io::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the program's own path is no user's")]
    std::fs::canonicalize(program)
}

async fn try_it(jail: &Jail, program: &Path, own_path: &Path, bait: &Bait) -> Result<Findings, Unfit> {
    let not_entered = |error: &dyn std::error::Error| Unfit::NotEntered(error.to_string());
    let handed_over = jail.to_variable().map_err(|error| not_entered(&error))?;
    let bait = serde_json::to_string(bait).map_err(|error| not_entered(&error))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a trial is a process of its own, and no agent"
    )]
    let mut command = tokio::process::Command::new(program);
    command
        .arg(INNER_COMMAND)
        .arg(own_path)
        .args([COMMAND, &bait])
        .env_clear()
        .env(VARIABLE, handed_over)
        .current_dir(&jail.working_dir.path)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|late| not_entered(&late))?
        .map_err(|error| not_entered(&error))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let told = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(Unfit::NotEntered(format!("{} ({})", told, output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| not_entered(&error))
}

/// Tries everything, from inside.
#[must_use]
pub fn attempt_all(bait: &Bait) -> Findings {
    Findings {
        got_through: Attempt::iter().filter(|attempt| attempt.succeeds(bait)).collect(),
        kept_from_work: work(bait).err(),
    }
}

impl Attempt {
    fn succeeds(self, bait: &Bait) -> bool {
        match self {
            Self::ReadFile => std::fs::read(bait.secret()).is_ok(),
            Self::ListFolder => std::fs::read_dir(&bait.folder).is_ok(),
            Self::WriteFile => std::fs::write(bait.folder.join("planted"), "planted").is_ok(),
            Self::LookAtProcess => {
                std::fs::read(format!("/proc/{}/cmdline", bait.process)).is_ok() && !bait.is_another()
            }
            Self::Signal => {
                let pid = i32::try_from(bait.process)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
                    && !bait.numbers_are_others()
            }
            Self::ConnectTcp => bait.port.is_some_and(|port| {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                TcpStream::connect_timeout(&address, CONNECT_PATIENCE).is_ok()
            }),
            Self::ConnectUnix => UnixStream::connect(bait.socket()).is_ok(),
        }
    }
}

/// What an agent must be able to do.
fn work(bait: &Bait) -> Result<(), String> {
    let in_words = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    std::fs::write("trial", "trial").map_err(in_words("writing a file in its folder"))?;
    std::fs::remove_file("trial").map_err(in_words("removing a file in its folder"))?;
    std::fs::write("/dev/null", "trial").map_err(in_words("writing to /dev/null"))?;
    std::fs::read("/etc/passwd").map_err(in_words("reading /etc/passwd"))?;
    if let Some(cli) = &bait.cli {
        std::fs::File::open(cli).map_err(in_words("reading the CLI"))?;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "whether programs can be started is what is tried"
    )]
    let mut shell = std::process::Command::new("/bin/sh");
    let status = shell
        .args(["-c", "exit 0"])
        .status()
        .map_err(in_words("starting /bin/sh"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("starting /bin/sh: {status}"))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_only_shares_the_servers_number_is_not_the_server() {
        let own = std::process::id();
        let server = Bait {
            folder: PathBuf::from("/nowhere"),
            process: own,
            started: started(own),
            process_namespace: process_namespace(),
            port: None,
            cli: None,
        };
        assert!(server.started.is_some() && server.process_namespace.is_some());
        let gets_at =
            |bait: &Bait| [Attempt::LookAtProcess, Attempt::Signal].map(|attempt| attempt.succeeds(bait));
        assert_eq!(gets_at(&server), [true, true]);
        let elsewhere = Bait {
            started: Some("1".to_owned()),
            process_namespace: Some(PathBuf::from("pid:[1]")),
            ..server.clone()
        };
        assert_eq!(gets_at(&elsewhere), [false, false]);
        let untold = Bait {
            started: None,
            process_namespace: None,
            ..server
        };
        assert_eq!(
            gets_at(&untold),
            [true, true],
            "where it cannot be told apart, it counts as the server"
        );
    }
}
