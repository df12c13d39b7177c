//! Use cases: what the platform does, without HTTP. Every method takes the caller first and decides itself what of
//! the tenant's data the caller may see; a foreign id answers like an unknown one.

mod error;
mod health;
mod housekeeping;
mod models;
mod sessions;
mod turn_stream;
mod turns;

use std::sync::Arc;

pub use crate::security::workspace::WorkspaceError;
pub use crate::store::StoreError;
pub use error::Error;
pub use health::{HealthReport, HealthService, ModelAccess};
pub use housekeeping::{Housekeeping, KeepRules, Swept};
pub use models::{ModelInfo, ModelService};
pub use sessions::{NewSession, SessionDetails, SessionQuery, SessionService, SessionState};
pub use turn_stream::{StreamItem, TurnStream};
pub use turns::{TurnOrder, TurnService};

/// All use cases, as the layers above hold them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Sessions and their history.
    pub sessions: Arc<SessionService>,
    /// Turns.
    pub turns: Arc<TurnService>,
    /// Models.
    pub models: Arc<ModelService>,
    /// How the server is.
    pub health: Arc<HealthService>,
}
