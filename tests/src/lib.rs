//! Real brokers, real clients, a real collector.
#![forbid(unsafe_code)]

pub mod collector;
pub mod demo;
pub mod dialogue;
pub mod eventually;
pub mod http;
pub mod java;
pub mod jmx;
pub mod kafka;
pub mod mock;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod receiver;
pub mod tap;
pub mod testbed;
pub mod truth;
pub mod wire;
