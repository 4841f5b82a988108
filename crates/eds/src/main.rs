//! The command line of secure-log and edgesentry-audit.

fn main() {}
