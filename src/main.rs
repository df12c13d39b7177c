//! Entry point of the `paddock` binary.
fn main() {}
