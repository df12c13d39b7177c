//! The kernel jail around an agent and all that it starts.
//!
//! A [`Jail`] says what an agent may touch. The server hands it over in the environment; the process that is to become
//! the CLI reads it, shuts itself in ([`become_program`]) and executes the CLI. What the CLI starts inherits the jail, and
//! nothing in it can take it off. Three layers: Landlock for files, TCP, signals and abstract sockets (`files`);
//! seccomp for system calls that no build tool needs, and for the ways around Landlock's rules (`calls`); where the
//! host allows it, namespaces by bubblewrap, so that the rest of the machine is not even to be seen (`namespaces`).
//!
//! It refuses to start a program whose folders are not those that the server opened, and whenever a layer cannot be
//! had: nothing runs in half a jail. What is in force is what [`trial`] found, not what was asked for.

pub mod trial;

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod namespaces;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// The variable of the environment in which a jail is handed over. It is gone before the CLI runs.
pub const VARIABLE: &str = "PADDOCK_JAIL";

/// The whole system where there are no jails.
pub const IS_SUPPORTED: bool = cfg!(target_os = "linux");

/// How strong a jail is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Level {
    /// There is no jail.
    None,
    /// Landlock and seccomp.
    Landlock,
    /// These, and namespaces of its own.
    Namespaces,
}

/// What an agent may do with a path and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and execute.
    Read,
    /// Everything.
    Write,
}

/// A path that an agent may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The path.
    pub path: PathBuf,
    /// What for.
    pub access: Access,
    /// Which file or folder it must be, by device and inode; whichever the path leads to when absent.
    pub identity: Option<(u64, u64)>,
}

/// What an agent may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The TCP ports; `None`: everything, and it may listen.
    pub ports: Option<Vec<u16>>,
    /// Whether it may send datagrams, which name services need.
    pub datagrams: bool,
}

/// How much an agent may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open files of one process.
    pub open_files: u64,
    /// The longest file, in bytes.
    pub file_bytes: u64,
    /// Processes and threads of the user that it runs under, or of its own user namespace.
    pub processes: u64,
    /// The whole shared memory, in bytes, where it has some of its own (namespaces).
    pub shared_memory_bytes: u64,
}

/// What a program and all that it starts may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jail {
    /// How strong it is.
    pub level: Level,
    /// The folder it begins in, writable.
    pub working_dir: Grant,
    /// What it may touch besides the system's own programs and libraries.
    pub grants: Vec<Grant>,
    /// What it sees as `/tmp`, where it has one of its own (namespaces).
    pub temporary_dir: PathBuf,
    /// What it may connect to.
    pub network: Network,
    /// How much it may use.
    pub limits: Limits,
    /// The user and group that it runs under; the server's own when absent.
    pub user: Option<u32>,
    /// The control group that it is put into.
    pub control_group: Option<PathBuf>,
    /// The program that makes namespaces.
    pub bubblewrap: PathBuf,
}

/// Why a jail was not entered.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// What was handed over is no jail.
    #[error("the jail that was handed over cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// A path cannot be opened.
    #[error("{} cannot be opened for the jail", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A path leads elsewhere than it did for the server.
    #[error("{} is not the folder that it was", .0.display())]
    Swapped(PathBuf),
    /// A step failed.
    #[error("the jail cannot be made: {step}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl JailError {
    #[cfg(target_os = "linux")]
    fn step<E: Into<Box<dyn std::error::Error + Send + Sync>>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step {
            step,
            source: source.into(),
        }
    }
}

impl Grant {
    /// Whatever this path leads to, for reading and executing.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            access: Access::Read,
            identity: None,
        }
    }

    /// Whatever this path leads to, for everything.
    #[must_use]
    pub fn write(path: &Path) -> Self {
        Self {
            access: Access::Write,
            ..Self::read(path)
        }
    }

    /// The same, which must be this file or folder.
    #[must_use]
    pub fn exactly(self, identity: (u64, u64)) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }
}

impl Jail {
    /// As it is handed over.
    ///
    /// # Errors
    /// When a path is no UTF-8.
    pub fn to_variable(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Becomes `program`, in the jail that was handed over, if one was. It is outside of namespaces of its own until
/// `inside`.
///
/// # Errors
/// Why there is no jail, or why the program cannot be executed.
#[cfg(target_os = "linux")]
pub fn become_program(
    inside: bool,
    program: &Path,
    arguments: &[std::ffi::OsString],
) -> Result<std::convert::Infallible, JailError> {
    use std::os::unix::process::CommandExt as _;
    let handed_over = std::env::var_os(VARIABLE);
    if let Some(jail) = handed_over {
        let jail: Jail = serde_json::from_slice(jail.as_encoded_bytes()).map_err(JailError::Unreadable)?;
        return enter::enter(&jail, inside, program, arguments);
    }
    #[expect(clippy::disallowed_methods, reason = "this process becomes the program")]
    let mut command = std::process::Command::new(program);
    Err(JailError::step("executing the program")(
        command.args(arguments).exec(),
    ))
}

/// Becomes `program`: there are no jails here.
///
/// # Errors
/// Why the program cannot be executed.
#[cfg(not(target_os = "linux"))]
pub fn become_program(
    _inside: bool,
    program: &Path,
    arguments: &[std::ffi::OsString],
) -> Result<std::convert::Infallible, JailError> {
    use std::os::unix::process::CommandExt as _;
    #[expect(clippy::disallowed_methods, reason = "this process becomes the program")]
    let mut command = std::process::Command::new(program);
    Err(JailError::Step {
        step: "executing the program",
        source: command.args(arguments).exec().into(),
    })
}
