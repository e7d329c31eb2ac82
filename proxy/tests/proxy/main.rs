//! The proxy against fake peers over loopback: what the bytes, the ends and the process must do. No Kafka is needed.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod configuration;
mod forwarding;
mod frames;
mod peers;
mod process;
mod rig;
mod serving;
