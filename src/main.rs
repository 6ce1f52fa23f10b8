//! The command line (in progress).
fn main() {}
