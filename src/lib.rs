//! Paddock: a multi-tenant HTTP platform for Claude Code.

pub mod agent;
pub mod api;
pub mod checkpoints;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod dialects;
pub mod domain;
pub mod files;
pub mod gateway;
pub mod guardian;
pub mod jail;
pub mod lifecycle;
pub mod limits;
pub mod protocol;
pub mod security;
pub mod service;
pub mod settings;
pub mod startup;
pub mod store;
pub mod telemetry;
