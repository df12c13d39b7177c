//! A scripted stand-in for the CLI, for faults and load only.
fn main() {}
