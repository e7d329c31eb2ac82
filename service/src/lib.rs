//! What every program of kafkascope has: settings from flags, environment and file, an admin server, export.
#![forbid(unsafe_code)]

pub mod admin;
pub mod exit;
mod listen;
pub mod log;
mod rate_limit;
pub mod settings;

pub use listen::listener;
pub use rate_limit::RateLimit;
