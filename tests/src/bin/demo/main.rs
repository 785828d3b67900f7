//! The demo gateway.
fn main() {}
