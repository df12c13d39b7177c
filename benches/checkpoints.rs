//! What a checkpoint costs: the first of a workspace, beside the next after one file changed.

fn main() {}
