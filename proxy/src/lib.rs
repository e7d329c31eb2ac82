//! Transparent Kafka proxy that measures what clients do.
//!
//! [`forward`] moves bytes and knows nothing of Kafka. Around it, from the outside in: [`Config`] says what is wanted,
//! [`Proxy`] binds, starts and drains, one worker accepts and hands each new connection to the least loaded, and a worker
//! is one thread on which its connections live and are observed, without a lock between them. [`top`] is a program of its own,
//! which shows what a proxy says.
#![forbid(unsafe_code)]

pub mod forward;

mod acceptor;
mod api;
mod config;
mod connection;
mod descriptors;
mod lane;
mod live;
mod observer;
mod peers;
mod proxy;
mod rounds;
mod sockets;
pub mod top;
mod upstream;
mod worker;

pub use config::{Config, ConfigError, Host, ListenAddress, Observe, PeerUrl, Route, UpstreamAddress};
pub use proxy::{Ended, Proxy, StartError};
