//! The smallest axum server that takes signed pushes.
fn main() {}
