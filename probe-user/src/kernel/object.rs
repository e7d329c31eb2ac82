//! The compiled programs, if there are any.

/// The object file; or why this probe was built without one, in words for its user.
pub const PROGRAMS: Result<&[u8], &str> = include!(concat!(env!("OUT_DIR"), "/programs.rs"));
