//! What stands between a caller and what is not the caller's: path jail, keys, sealed secrets, agents' environment.

pub mod environment;
pub mod keys;
pub mod oidc;
pub mod outgoing;
pub mod ownership;
pub mod peer_tokens;
pub mod sealing;
pub mod signing;
pub mod tickets;
pub mod tls;
pub mod walk;
pub mod webhook_signing;
pub mod workspace;
pub mod workspace_copy;
pub mod workspace_fill;
