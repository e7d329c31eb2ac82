//! Real brokers, real clients, a real collector.
#![forbid(unsafe_code)]

pub mod collector;
pub mod demo;
pub mod dialogue;
pub mod eventually;
pub mod groups;
pub mod http;
pub mod java;
pub mod jmx;
pub mod kafka;
pub mod mock;
pub mod overhead;
pub mod port;
pub mod probe;
pub mod process;
mod program;
pub mod prometheus;
pub mod proxy;
pub mod receiver;
pub mod served;
pub mod tap;
pub mod testbed;
pub mod truth;
pub mod wire;
