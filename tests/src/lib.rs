//! Real brokers, real clients, a real collector.
#![forbid(unsafe_code)]
