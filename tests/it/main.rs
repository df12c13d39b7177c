//! Paddock as its users meet it: over HTTP, on a free port, with the real CLI on the scripted model. `fake-claude`
//! stands in for the CLI where a fault is wanted that the real one does not have.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code may panic, prints, reads its own environment and starts processes"
)]

mod access;
mod administration;
mod agents;
mod architecture;
mod attachments;
mod auth;
mod budgets;
mod checkpoints;
mod clients;
mod configuration;
mod console;
mod crash;
mod dialects;
mod erasure;
mod events;
mod expiry;
mod faults;
mod fence;
mod files;
mod forks;
mod gateway;
mod git;
mod history;
mod idempotency;
mod input;
mod instances;
mod lifecycle;
mod limits;
mod oidc;
mod openapi;
mod options;
mod permissions;
mod postman;
mod proxies;
mod queues;
mod sessions;
mod shares;
mod sockets;
mod steering;
mod stores;
mod support;
mod telemetry;
mod transcripts;
mod turns;
mod unused;
mod webhooks;
