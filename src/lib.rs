//! Paddock: a multi-tenant HTTP platform for Claude Code.
