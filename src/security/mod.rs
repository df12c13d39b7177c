//! What stands between a caller and what is not the caller's: path jail, keys, agents' environment.

pub mod environment;
pub mod keys;
pub mod workspace;
pub mod workspace_copy;
