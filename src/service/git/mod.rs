//! The repository in a session's workspace, by `git` itself.
//!
//! A repository says what `git` does with it: hooks, filters, watchers, other programs for diffs. So `git` runs in the jail of
//! the session's agent and without a network (see [`crate::agent`]'s helpers), and what can be switched off of that is.
//! Of what callers say, nothing stands on a command line: what they call commits is looked up over the input first, and paths
//! and messages are files of a home that is thrown away.
//!
//! The repository is the one in `.git` of the workspace, which must be a folder there; none around it is looked for.

mod cloning;
mod diff;
mod read;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, RETRY_SOON};
use super::sessions::{SessionService, off_the_worker};
use crate::agent::{Agents, Folders, Helped, Helper, HelperArgument, HelperError};
use crate::domain::{
    CommitId, Diff, FilePath, GitCommit, GitStatus, LogPlace, Page, Principal, Session, SessionId,
};

pub use cloning::{CloneRules, GitCredential, SourceOrder};

/// How repositories are worked with.
#[derive(Debug, Clone)]
pub struct GitRules {
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of what it tells is taken, in bytes.
    pub output_max_bytes: usize,
    /// The host of the addresses of those who have none.
    pub email_host: String,
    /// What may be cloned; nothing when absent.
    pub cloning: Option<CloneRules>,
}

/// Which difference is wanted.
#[derive(Debug, Clone, Default)]
pub struct GitDiffOrder {
    /// From this commit; when absent, from what is prepared for the next one, or with `staged` from the last one.
    pub from: Option<String>,
    /// To this commit; to the files, or with `staged` to what is prepared, when absent.
    pub to: Option<String>,
    /// To what is prepared for the next commit.
    pub staged: bool,
    /// Of this path and all below it.
    pub path: Option<FilePath>,
    /// How many lines are told around what changed.
    pub context: u32,
}

/// A commit to be made.
#[derive(Debug, Clone)]
pub struct CommitOrder {
    /// Its message.
    pub message: String,
    /// What of the workspace it is to hold: these paths; what is prepared when empty.
    pub paths: Vec<FilePath>,
    /// All that changed.
    pub all: bool,
    /// Who wrote it: a name.
    pub author_name: Option<String>,
    /// Who wrote it: an address.
    pub author_email: Option<String>,
}

/// What is to be put back.
#[derive(Debug, Clone)]
pub struct RestoreOrder {
    /// The paths.
    pub paths: Vec<FilePath>,
    /// As they were at this commit; when absent, as they are prepared for the next one, or with `staged` as in the last one.
    pub source: Option<String>,
    /// What is prepared is put back, and not the files.
    pub staged: bool,
}

/// Repositories in workspaces.
#[derive(Debug)]
pub struct GitService {
    agents: Agents,
    sessions: Arc<SessionService>,
    rules: GitRules,
}

/// A repository that is there.
struct Repository {
    session: Session,
    folders: Arc<Folders>,
}

/// What is asked of `git`, besides what is asked of it each time.
#[derive(Default)]
struct Asked {
    arguments: Vec<HelperArgument>,
    environment: Vec<(String, OsString)>,
    input: Vec<u8>,
    files: Vec<(&'static str, Vec<u8>)>,
    /// Whether it writes, and what the workspace may hold bounds it.
    writes: bool,
}

/// The tree that holds nothing, as git names it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// The name of the file that holds paths.
const PATHS: &str = "paths";
/// The name of the file that holds a commit's message.
const MESSAGE: &str = "message";
/// The name of the file that says in which order paths are told.
const ORDER: &str = "order";
/// The name of the file with what is so for whoever says nothing else.
const CONFIG: &str = ".gitconfig";

/// What a repository's own configuration is not to switch on.
const ALWAYS: &[&str] = &[
    "--no-pager",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.attributesFile=/dev/null",
    "-c",
    "core.quotePath=false",
    "-c",
    "core.warnAmbiguousRefs=false",
    "-c",
    "credential.helper=",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "log.showSignature=false",
    "-c",
    "diff.suppressBlankEmpty=false",
    "-c",
    "status.submoduleSummary=false",
    "-c",
    "submodule.recurse=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "safe.directory=*",
];

fn text(argument: impl Into<String>) -> HelperArgument {
    HelperArgument::Text(argument.into())
}

impl Asked {
    /// This of the repository in the workspace, and of none around it.
    fn of(arguments: &[&str]) -> Self {
        let mut asked = Self::default();
        let own = ["--git-dir=.git", "--work-tree=."];
        asked.say(ALWAYS.iter().chain(&own).chain(arguments).copied());
        asked
    }

    /// The same, for what writes.
    fn writing(mut self) -> Self {
        self.writes = true;
        self
    }

    fn say<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.arguments.extend(arguments.into_iter().map(text));
    }

    /// With these paths, each ended by NUL.
    fn with_paths(mut self, paths: &[FilePath]) -> Self {
        let all = paths
            .iter()
            .flat_map(|path| [path.as_str(), "\0"])
            .collect::<String>();
        self.files.push((PATHS, all.into_bytes()));
        self.arguments
            .push(HelperArgument::File("--pathspec-from-file=", PATHS));
        self.say(["--pathspec-file-nul"]);
        self
    }
}

/// What `git` is told by its environment each time.
fn environment(protocols: &str) -> Vec<(String, OsString)> {
    [
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_ALLOW_PROTOCOL", protocols),
        ("GIT_EDITOR", ":"),
        ("GIT_SSH_COMMAND", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.into()))
    .to_vec()
}

impl GitService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(agents: Agents, sessions: Arc<SessionService>, rules: GitRules) -> Self {
        Self {
            agents,
            sessions,
            rules,
        }
    }

    /// How the repository stands.
    pub async fn status(&self, caller: &Principal, session: SessionId) -> Result<GitStatus, Error> {
        let at = self.open(caller, session).await?;
        let asked = Asked::of(&[
            "status",
            "--porcelain=v2",
            "-z",
            "--branch",
            "--ahead-behind",
            "--untracked-files=all",
            "--ignore-submodules=dirty",
            "--find-renames",
        ]);
        let told = self.ask(&at, asked).await?;
        Ok(read::status(&told.output, told.truncated))
    }

    /// What differs.
    pub async fn diff(
        &self,
        caller: &Principal,
        session: SessionId,
        order: GitDiffOrder,
    ) -> Result<Diff, Error> {
        let at = self.open(caller, session).await?;
        let named: Vec<&str> = order.from.iter().chain(&order.to).map(String::as_str).collect();
        let commits = self.commits_named(&at, &named).await?;
        let context = format!("--unified={}", order.context);
        let mut asked = Asked::of(&[
            "diff",
            "--raw",
            "--patch",
            "-z",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-relative",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--find-renames",
            "--submodule=short",
            "--ignore-submodules=dirty",
            &context,
        ]);
        // What is wanted comes first, so that it is there when the rest is cut off.
        let first = order.path.as_ref().map_or_else(String::new, order_file);
        asked.files.push((ORDER, first.into_bytes()));
        asked.arguments.push(HelperArgument::File("-O", ORDER));
        asked.say(order.staged.then_some("--cached"));
        asked.say(commits.iter().map(CommitId::as_str));
        asked.say(["--"]);
        let told = self.ask(&at, asked).await?;
        // Of much text, this takes a while.
        off_the_worker(move || {
            let wanted = order.path.as_ref().map(FilePath::as_str);
            Ok(diff::parse(&told.output, told.truncated, wanted))
        })
        .await
    }

    /// A page of the commits that led to one, newest first; of those that changed a path where one is wanted.
    pub async fn log(
        &self,
        caller: &Principal,
        session: SessionId,
        name: Option<&str>,
        path: Option<&FilePath>,
        after: Option<LogPlace>,
        limit: u32,
    ) -> Result<Page<GitCommit, LogPlace>, Error> {
        let at = self.open(caller, session).await?;
        let place = match (after, name) {
            (Some(place), _) => place,
            (None, Some(name)) => LogPlace {
                from: self.commit_named(&at, name).await?,
                told: 0,
            },
            (None, None) => match self.look_up(&at, &["HEAD"]).await?.into_iter().next().flatten() {
                Some(from) => LogPlace { from, told: 0 },
                // There is no commit yet.
                None => {
                    return Ok(Page {
                        items: Vec::new(),
                        next: None,
                    });
                }
            },
        };
        let told = self
            .ask(&at, log_of(&place, path, limit.saturating_add(1)))
            .await?;
        let mut items = read::commits(&told.output);
        let has_more = items.len() > limit as usize || told.truncated;
        items.truncate(limit as usize);
        let told = place
            .told
            .saturating_add(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let next = (has_more && !items.is_empty()).then_some(LogPlace { told, ..place });
        Ok(Page { items, next })
    }

    /// Makes a commit, and tells it.
    pub async fn commit(
        &self,
        caller: &Principal,
        session: SessionId,
        order: CommitOrder,
    ) -> Result<GitCommit, Error> {
        let at = self.open(caller, session).await?;
        if order.all {
            self.ask(&at, Asked::of(&["add", "--all"]).writing()).await?;
        } else if !order.paths.is_empty() {
            let add = Asked::of(&["add", "--all"]).with_paths(&order.paths);
            self.ask(&at, add.writing()).await?;
        }
        let mut asked = Asked::of(&[
            "commit",
            "--quiet",
            "--no-verify",
            "--no-gpg-sign",
            "--no-edit",
            "--cleanup=whitespace",
        ])
        .writing();
        asked.arguments.push(HelperArgument::File("--file=", MESSAGE));
        asked.files.push((MESSAGE, order.message.into_bytes()));
        asked.files.push((CONFIG, self.identity(&at)));
        let author = [
            ("GIT_AUTHOR_NAME", order.author_name),
            ("GIT_AUTHOR_EMAIL", order.author_email),
        ];
        for (name, value) in author {
            asked
                .environment
                .extend(value.map(|value| (name.to_owned(), value.into())));
        }
        if !order.all && !order.paths.is_empty() {
            asked.say(["--only"]);
            asked = asked.with_paths(&order.paths);
        }
        let made = self.run(&at, asked).await?;
        // It says so where answers go, and nothing where complaints go.
        if made.status.code == Some(1) && made.complaint.is_empty() {
            return Err(Error::NothingToCommit);
        }
        done(&made)?;
        let from = self.commit_named(&at, "HEAD").await?;
        let told = self
            .ask(&at, log_of(&LogPlace { from, told: 0 }, None, 1))
            .await?;
        read::commits(&told.output)
            .into_iter()
            .next()
            .ok_or(Error::RefNotFound)
    }

    /// Puts paths back to what they were.
    pub async fn restore(
        &self,
        caller: &Principal,
        session: SessionId,
        order: RestoreOrder,
    ) -> Result<(), Error> {
        let at = self.open(caller, session).await?;
        let mut asked = Asked::of(&["restore", "--quiet", "--no-recurse-submodules"]).writing();
        asked.say([if order.staged { "--staged" } else { "--worktree" }]);
        if let Some(source) = &order.source {
            let source = self.commit_named(&at, source).await?;
            asked.arguments.push(text(format!("--source={source}")));
        }
        self.ask(&at, asked.with_paths(&order.paths)).await.map(|_| ())
    }

    /// The repository of a session that is the caller's, if there is one.
    async fn open(&self, caller: &Principal, session: SessionId) -> Result<Repository, Error> {
        let session = self.sessions.find_usable(caller, session).await?;
        let folders = Arc::new(self.sessions.folders(caller, &session).await?);
        let own = Arc::clone(&folders);
        let is_there = off_the_worker(move || {
            let found = own.workspace.dir().symlink_metadata(".git");
            // A file, or a link, would lead to one elsewhere.
            Ok(found.is_ok_and(|found| found.is_dir()))
        });
        if is_there.await? {
            Ok(Repository { session, folders })
        } else {
            Err(Error::NotARepository)
        }
    }

    /// Those who make commits and are not told who they are: the session's user.
    fn identity(&self, at: &Repository) -> Vec<u8> {
        let user = &at.session.user;
        let host = &self.rules.email_host;
        format!("[user]\n\tname = \"{user}\"\n\temail = \"{user}@{host}\"\n").into_bytes()
    }

    /// The commit of this name.
    async fn commit_named(&self, at: &Repository, name: &str) -> Result<CommitId, Error> {
        let found = self.commits_named(at, &[name]).await?;
        found.into_iter().next().ok_or(Error::RefNotFound)
    }

    /// The commits of these names, which must all be there.
    async fn commits_named(&self, at: &Repository, names: &[&str]) -> Result<Vec<CommitId>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.look_up(at, names).await?;
        // What a first commit changed is told from nothing.
        let nothing = |name: &str| (name == EMPTY_TREE).then(|| name.parse().ok()).flatten();
        let each = names.iter().zip(found);
        let all: Option<Vec<_>> = each
            .map(|(name, found)| found.or_else(|| nothing(name)))
            .collect();
        all.ok_or(Error::RefNotFound)
    }

    /// The commits of these names, over the input, where no name is taken for an option.
    async fn look_up(&self, at: &Repository, names: &[&str]) -> Result<Vec<Option<CommitId>>, Error> {
        let mut asked = Asked::of(&["cat-file", "--batch-check"]);
        let lines = names.iter().flat_map(|name| [*name, "^{commit}\n"]);
        asked.input = lines.collect::<String>().into_bytes();
        let told = self.ask(at, asked).await?;
        let told = String::from_utf8_lossy(&told.output).into_owned();
        let mut lines = told.lines();
        let commit = |line: &str| {
            let (id, rest) = line.split_once(' ')?;
            let is_commit = rest.split(' ').next() == Some("commit");
            id.parse().ok().filter(|_| is_commit)
        };
        Ok(names.iter().map(|_| lines.next().and_then(commit)).collect())
    }

    /// What `git` tells, which must not fail.
    async fn ask(&self, at: &Repository, asked: Asked) -> Result<Helped, Error> {
        let told = self.run(at, asked).await?;
        done(&told)?;
        Ok(told)
    }

    async fn run(&self, at: &Repository, mut asked: Asked) -> Result<Helped, Error> {
        asked.environment.extend(environment("none"));
        let helper = Helper {
            program: self.rules.program.clone(),
            arguments: asked.arguments,
            environment: asked.environment,
            input: asked.input,
            files: asked.files,
            online: false,
            grows: asked.writes,
            timeout: self.rules.timeout,
            output_max_bytes: self.rules.output_max_bytes,
        };
        let outcome = self.agents.help(at.session.tenant, &at.folders, helper).await;
        outcome.map_err(refused)
    }
}

/// Commits that led to one.
fn log_of(place: &LogPlace, path: Option<&FilePath>, limit: u32) -> Asked {
    let (most, skipped) = (format!("--max-count={limit}"), format!("--skip={}", place.told));
    let mut asked = Asked::of(&[
        "log",
        "-z",
        "--no-color",
        "--no-decorate",
        "--no-show-signature",
        "--no-mailmap",
        "--encoding=UTF-8",
        read::COMMIT_FORMAT,
        &most,
        &skipped,
        "--stdin",
    ]);
    asked.input = match path {
        Some(path) => format!("{}\n--\n{path}\n", place.from),
        None => format!("{}\n--\n", place.from),
    }
    .into_bytes();
    asked
}

/// A file that has a path, and what is below it, told first.
fn order_file(path: &FilePath) -> String {
    let mut line = String::new();
    if path.check_new().is_err() {
        // The file has no way to say a line break; what is wanted comes in its usual place.
        return line;
    }
    for letter in path.as_str().chars() {
        if "*?[\\#".contains(letter) {
            line.push('\\');
        }
        line.push(letter);
    }
    line.push('\n');
    line
}

/// What it means that a helper did not come to its end.
fn refused(error: HelperError) -> Error {
    match error {
        HelperError::Busy => Error::GitBusy {
            retry_after: RETRY_SOON,
        },
        HelperError::TimedOut => Error::GitTimeout,
        HelperError::DiskFull => Error::WorkspaceFull,
        HelperError::Stopped => Error::ShuttingDown {
            retry_after: RETRY_SOON,
        },
        HelperError::Start(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "git cannot be started");
            Error::GitUnavailable
        }
        HelperError::Needs(source) => Error::Internal {
            action: "git was not run",
            source,
        },
    }
}

/// Whether `git` did what it was asked for.
fn done(told: &Helped) -> Result<(), Error> {
    if told.truncated || told.status.code == Some(0) {
        return Ok(());
    }
    if told.complaint.contains("not a git repository") {
        return Err(Error::NotARepository);
    }
    Err(Error::GitFailed {
        why: last_line(&told.complaint).unwrap_or_else(|| format!("it ended with {}", told.status)),
    })
}

/// The last line that says something, without what git begins it with.
fn last_line(complaint: &str) -> Option<String> {
    let lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
    let line = lines.clone().rfind(said).or_else(|| lines.clone().next_back())?;
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ");
    Some(line.chars().take(500).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_git_complains_of_the_last_fault_is_told() {
        for (complaint, told) in [
            ("", None),
            (
                "Cloning into '.'...\nfatal: repository not found\n",
                Some("repository not found"),
            ),
            ("error: one\nfatal: two\nhint: three", Some("two")),
            ("just this", Some("just this")),
        ] {
            assert_eq!(last_line(complaint).as_deref(), told, "{complaint}");
        }
    }

    #[test]
    fn a_path_is_a_path_also_where_a_pattern_could_be() {
        let path: FilePath = "src/a*[b]?.rs".parse().unwrap();
        assert_eq!(order_file(&path), "src/a\\*\\[b]\\?.rs\n");
        assert_eq!(order_file(&"a\nb".parse().unwrap()), "");
    }
}
