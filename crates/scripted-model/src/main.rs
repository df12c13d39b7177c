//! Runs the scripted Messages API server as a process of its own.
fn main() {}
