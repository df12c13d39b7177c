//! Small programs of the server's own that run in a session's jail, once, to their end: `git`, for one.
//!
//! What a workspace holds may have such a program start others (hooks, filters, file watchers). So it runs where the session's
//! agent runs: in the same jail, under the same user, with a home of its own that is thrown away. It gets no way to the model,
//! no credential, and no network unless it is asked for. Time, output and number are bounded. It is killed, with what it
//! started, when the time is over and when nobody waits for it any more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::disk;
use super::home::Home;
use super::launch::{Folders, LaunchSettings, Means};
use super::manager::{Agents, Shared};
use super::process::{self, ExitStatus, Process, Program, StartError};
use super::starting::{NoAgent, give_to, off_the_runtime};
use crate::domain::{SessionId, TenantId, TenantNetwork};

/// How much is kept of what a helper complains of, in bytes: the end of it.
const COMPLAINT_BYTES: usize = 16 * 1024;
/// How long is waited for the pipes of one that has ended.
const PIPES_GRACE: Duration = Duration::from_secs(1);
/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Variables of the agents' environment that say how the network is reached.
const NETWORK_VARIABLES: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
];

/// An argument of a helper.
#[derive(Debug, Clone)]
pub enum HelperArgument {
    /// This text.
    Text(String),
    /// What comes before, and then the path of one of its files.
    File(&'static str, &'static str),
}

/// What is to run in a session's jail.
#[derive(Debug)]
pub struct Helper {
    /// The program: a path, or a name to be looked up in the agents' `PATH`.
    pub program: PathBuf,
    /// Its arguments. Every process of the machine can read them: nothing that is anybody's own belongs here.
    pub arguments: Vec<HelperArgument>,
    /// Its environment, besides `PATH` and its home's.
    pub environment: Vec<(String, OsString)>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Files of its home, by name.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// Whether it reaches what agents reach of the network; else nothing.
    pub online: bool,
    /// Whether it is ended when the session's folders hold more than they may.
    pub grows: bool,
    /// How long it may take, waiting included.
    pub timeout: Duration,
    /// How much of what it writes is taken, in bytes; past it, it is ended.
    pub output_max_bytes: usize,
}

/// What came of a helper.
#[derive(Debug)]
pub struct Helped {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub output: Vec<u8>,
    /// Whether it would have written more than is taken; its status says nothing then.
    pub truncated: bool,
    /// The end of what it complained of.
    pub complaint: String,
}

/// Why a helper did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// As many run as may.
    #[error("as many run as may, and none ended in time")]
    Busy,
    /// It took too long.
    #[error("it took longer than it may")]
    TimedOut,
    /// The session's folders hold more than they may.
    #[error("the session's folders hold more than they may")]
    DiskFull,
    /// The server stops.
    #[error("the server is stopping")]
    Stopped,
    /// The program is not there, or cannot be started.
    #[error("it cannot be started")]
    Start(#[from] StartError),
    /// What it needs cannot be had.
    #[error("what it needs cannot be had")]
    Needs(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl HelperError {
    fn needs(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Needs(error.into())
    }
}

impl Agents {
    /// Whether agents reach hosts by a proxy for this protocol.
    #[must_use]
    pub fn has_proxy(&self, protocol: &str) -> bool {
        let environment = &self.shared.launch.environment;
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let own = format!("{protocol}_proxy");
        // What is written large does not count for http, where it could come from a request.
        is_set(&own)
            || is_set("all_proxy")
            || is_set("ALL_PROXY")
            || (protocol == "https" && is_set("HTTPS_PROXY"))
    }

    /// Runs a helper in the jail of a tenant's session that has these folders. It is killed when this is dropped.
    pub async fn help(
        &self,
        tenant: TenantId,
        folders: &Arc<Folders>,
        helper: Helper,
    ) -> Result<Helped, HelperError> {
        let (mut answer, answered) = oneshot::channel();
        let (shared, folders) = (Arc::clone(&self.shared), Arc::clone(folders));
        // A task of its own, so that it is waited for and its home removed also where nobody waits any more.
        self.shared.tasks.spawn(async move {
            let outcome = shared.help(tenant, &folders, helper, answer.closed()).await;
            let _gone = answer.send(outcome);
        });
        answered.await.unwrap_or(Err(HelperError::Stopped))
    }
}

impl Shared {
    async fn help(
        &self,
        tenant: TenantId,
        folders: &Folders,
        helper: Helper,
        gone: impl Future<Output = ()>,
    ) -> Result<Helped, HelperError> {
        let deadline = Instant::now() + helper.timeout;
        let place = tokio::time::timeout_at(deadline, self.helpers.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(HelperError::Busy);
        };
        // A home that is no session's.
        let id = SessionId::generate(&*self.clock);
        let home = self.homes.of(tenant, id);
        let outcome = self
            .help_at((tenant, id), &home, folders, helper, deadline, gone)
            .await;
        if let Err(error) = off_the_runtime(move || home.remove()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a temporary home was not removed"
            );
        }
        outcome
    }

    async fn help_at(
        &self,
        (tenant, id): (TenantId, SessionId),
        home: &Home,
        folders: &Folders,
        helper: Helper,
        deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<Helped, HelperError> {
        home.create().map_err(HelperError::needs)?;
        for (name, content) in &helper.files {
            home.write(name, content).map_err(HelperError::needs)?;
        }
        let user = self.user_of(tenant).await.map_err(needs_of)?;
        if let Some(user) = user {
            give_to(user, home, folders).await.map_err(HelperError::needs)?;
        }
        let groups = self.launch.fence.control_groups.as_ref();
        let control_group = groups
            .map(|groups| groups.make(id))
            .transpose()
            .map_err(HelperError::needs)?;
        let policy = self.policy_of(tenant).await.map_err(needs_of)?;
        let means = Means {
            user,
            control_group: control_group.as_ref(),
            model_only: !helper.online || policy.network == Some(TenantNetwork::Gateway),
            ..Means::default()
        };
        let program = self.launch.helper(&helper, home, folders, means)?;
        let (mut process, pipes) = Process::start(&program)?;
        let full = Arc::new(Notify::new());
        let reading = self.tasks.spawn(read_up_to(
            pipes.stdout,
            helper.output_max_bytes,
            Arc::clone(&full),
        ));
        let complaining = self.tasks.spawn(read_end(pipes.stderr));
        let writing = self.tasks.spawn(write_all(pipes.stdin, helper.input));
        let limits = self.disk_limits(tenant).await;
        let watched = if helper.grows {
            vec![folders.workspace.dir().as_fd().try_clone_to_owned()]
        } else {
            Vec::new()
        };
        let watched = watched.into_iter().collect::<io::Result<Vec<OwnedFd>>>();
        let watched = Arc::new(watched.map_err(HelperError::needs)?);
        let over = async {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => HelperError::TimedOut,
                () = disk::passed(Arc::clone(&watched), limits), if helper.grows => HelperError::DiskFull,
                () = gone => HelperError::Stopped,
                () = self.shutdown.forced() => HelperError::Stopped,
            }
        };
        let ended = tokio::select! {
            status = process.ended() => Ok(Some(status)),
            () = full.notified() => Ok(None),
            over = over => Err(over),
        };
        let status = if let Ok(Some(status)) = ended {
            status
        } else {
            process.kill();
            process.ended().await
        };
        writing.abort();
        ended?;
        let (output, truncated) = within_grace(reading).await;
        let (complaint, _) = within_grace(complaining).await;
        Ok(Helped {
            status,
            output,
            truncated,
            complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
        })
    }
}

fn needs_of(error: NoAgent) -> HelperError {
    HelperError::needs(error)
}

/// What was read, as far as it comes once all who could write have ended.
async fn within_grace(reading: tokio::task::JoinHandle<(Vec<u8>, bool)>) -> (Vec<u8>, bool) {
    let abort = reading.abort_handle();
    let read = tokio::time::timeout(PIPES_GRACE, reading).await;
    abort.abort();
    match read {
        Ok(Ok(read)) => read,
        _ => (Vec::new(), true),
    }
}

/// What comes, at most so much, and whether there would be more; that is told at once.
async fn read_up_to(pipe: impl AsyncRead + Unpin, most: usize, full: Arc<Notify>) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    // What was read before it broke off counts.
    let _broken = pipe.take(limit).read_to_end(&mut read).await;
    let truncated = read.len() > most;
    read.truncate(most);
    if truncated {
        full.notify_one();
    }
    (read, truncated)
}

/// The end of what comes, up to its end.
async fn read_end(mut pipe: impl AsyncRead + Unpin) -> (Vec<u8>, bool) {
    let (mut kept, mut piece) = (Vec::new(), vec![0; READ_BYTES]);
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        kept.extend(piece.iter().take(read));
        let too_many = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..too_many);
    }
    (kept, false)
}

async fn write_all(mut pipe: tokio::process::ChildStdin, input: Vec<u8>) {
    // It may end before it has read all.
    let _broken = pipe.write_all(&input).await;
}

impl LaunchSettings {
    /// What to start for a helper, in the jail of a session's agent.
    fn helper(
        &self,
        helper: &Helper,
        home: &Home,
        folders: &Folders,
        means: Means<'_>,
    ) -> Result<Program, StartError> {
        let search_path = self.environment.get("PATH").and_then(|path| path.to_str());
        let passed = NETWORK_VARIABLES.iter().filter(|_| helper.online);
        let passed = passed.chain(&["PATH"]).filter_map(|name| {
            let value = self.environment.get(*name)?;
            Some(((*name).to_owned(), value.clone()))
        });
        let mut environment: BTreeMap<String, OsString> = passed.collect();
        environment.extend(helper.environment.iter().cloned());
        environment.insert("HOME".to_owned(), home.path().into());
        environment.insert("TMPDIR".to_owned(), home.temporary_dir().into());
        environment.insert("PWD".to_owned(), folders.workspace.path().into());
        let arguments = helper.arguments.iter().map(|argument| match argument {
            HelperArgument::Text(text) => text.clone(),
            HelperArgument::File(before, name) => {
                format!("{before}{}", home.path().join(name).to_string_lossy())
            }
        });
        Ok(Program {
            path: process::locate(&helper.program, search_path.unwrap_or_default())?,
            arguments: arguments.collect(),
            environment,
            working_dir: folders.workspace.as_current_dir(),
            guardian: self.guardian.clone(),
            jail: self.fence.of_session(folders, home, &means),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_taken_up_to_its_limit_and_that_there_is_more_is_told() {
        for (most, read, truncated) in [(4, &b"abcd"[..], false), (3, b"abc", true), (9, b"abcd", false)] {
            let full = Arc::new(Notify::new());
            let answer = read_up_to(&b"abcd"[..], most, Arc::clone(&full)).await;
            assert_eq!(answer, (read.to_vec(), truncated));
            if truncated {
                full.notified().await;
            }
        }
    }

    #[tokio::test]
    async fn of_complaints_the_end_is_kept() {
        let long = vec![b'x'; COMPLAINT_BYTES * 3];
        let text: Vec<u8> = long.into_iter().chain(*b"the end").collect();
        let (kept, _) = read_end(&text[..]).await;
        assert_eq!(kept.len(), COMPLAINT_BYTES);
        assert!(kept.ends_with(b"the end"));
    }
}
