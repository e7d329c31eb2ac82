//! Real brokers, real clients, a real collector.
#![forbid(unsafe_code)]

pub mod receiver;
