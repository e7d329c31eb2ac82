//! Everything that is not plain cargo.
#![forbid(unsafe_code)]
fn main() {}
