//! ashore
fn main() {}
