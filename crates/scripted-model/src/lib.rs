//! A deterministic, scripted Messages API server.
