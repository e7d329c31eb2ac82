//! What the host of a Kafka broker knows and the wire cannot show.
//!
//! ```text
//! /proc, cgroups -> discovery --Process--> process, host, jvm ----.
//! kernel programs (probe-ebpf) -> kernel --Reading, Event-------- report --Readings--> telemetry
//! netlink -> sock_diag -------------------------------------------'
//! ```
//!
//! [`Probe`] binds and attaches, gives up what it needs no longer, and starts the one thread that reads. Reading modules
//! return plain numbers; only `report` knows metrics.

mod clock;
mod config;
pub mod discovery;
pub mod doctor;
pub mod host;
pub mod jvm;
pub mod kernel;
pub mod privileges;
mod probe;
pub mod process;
mod report;
pub mod roots;
mod sampling;
pub mod sock_diag;

pub use config::{Config, ConfigError, ListenAddress, Task};
pub use probe::{Probe, StartError};
