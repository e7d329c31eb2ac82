//! Transparent Kafka proxy that measures what clients do.
#![forbid(unsafe_code)]
