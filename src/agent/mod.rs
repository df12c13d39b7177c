//! Live CLI processes and the turns they run.
//!
//! An agent is a cache over a stored session: it may be dropped at any idle moment, and the session goes on from the
//! store and its private home. Start reading at [`manager`]; [`actor`] owns one process, [`turn`] runs one turn.

pub mod actor;
pub mod feed;
pub mod handle;
pub mod home;
pub mod launch;
pub mod log;
pub mod manager;
pub mod process;
mod runtime;
mod transcript;
pub mod translate;
pub mod turn;

pub use manager::{AgentSettings, Agents, TurnRefused};
pub use runtime::FeedLimits;
pub use turn::StartedTurn;
