//! Live CLI processes and the turns they run.
//!
//! An agent is a cache over a stored session: it may be dropped at any idle moment, and the session goes on from the
//! store and its private home. Start reading at [`manager`]; [`actor`] owns one process, [`turn`] runs one turn, `line`
//! keeps the turns of a session in order, `pool` bounds the processes.

pub mod actor;
pub mod control_group;
mod disk;
mod elsewhere;
pub mod feed;
pub mod fence;
pub mod handle;
mod handover;
mod helper;
pub mod home;
mod idle;
pub mod launch;
mod line;
pub mod log;
pub mod manager;
mod memory;
mod metrics;
mod mirror;
mod pool;
pub mod process;
mod questions;
mod resuming;
mod runtime;
mod starting;
mod steering;
mod transcript;
pub mod translate;
pub mod turn;
mod users;

pub use disk::DiskLimits;
pub use elsewhere::ElsewhereError;
pub use helper::{Helped, Helper, HelperArgument, HelperError};
pub use idle::IdleSession;
pub use launch::Folders;
pub use line::OnBusy;
pub use manager::{AgentCounts, AgentSettings, Agents, NewTurn, Surroundings, TurnRefused};
pub use metrics::{AgentMetrics, Reading};
pub use questions::QuestionSettings;
pub use resuming::{LostTurn, LostTurns, Resuming};
pub use runtime::{FeedLimits, OpenLog};
pub use steering::{CliQuestion, SteeringError};
pub use turn::{OnLost, StartedTurn};
