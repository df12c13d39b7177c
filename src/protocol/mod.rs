//! The CLI's stream-json: lines, messages, control requests. Pure types and codecs; no processes, no IO.
//!
//! Typed is only what the server acts on. New message types and fields come with every release of the CLI: they are
//! let through, never a failure.

pub mod control;
pub mod lines;
pub mod message;
pub mod question;
