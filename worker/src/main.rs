//! Placeholder entry point until its part lands.
fn main() {}
