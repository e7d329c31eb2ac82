//! Makes a cluster tell its clients the proxy's addresses instead of its own.
//!
//! Clients connect where the brokers' answers tell them to. Kafka itself is told with `advertised.listeners`; the
//! embedded cluster, or somebody's own that must not be touched, cannot be. So a relay stands *behind* the proxy,
//! between it and each broker, and puts the proxy's addresses into the answers that hold broker addresses. The
//! clients and the proxy see a cluster that is configured for a proxy; nothing else is changed.

mod answer;
mod connection;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};

use answer::Shown;

/// Host and port of a broker, as it advertises itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Advertised {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// A relay for each broker of one cluster, on free loopback ports. They close when it is dropped.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Debug, Default)]
struct State {
    shown: Mutex<Shown>,
    trouble: Mutex<BTreeSet<String>>,
}

impl Relay {
    /// Opens one relay for each broker.
    pub fn start(brokers: &[Advertised]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("relay")
            .enable_all()
            .build()
            .context("cannot start the relay's thread")?;
        let state = Arc::new(State::default());
        let mut addresses = Vec::new();
        for broker in brokers {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
            addresses.push(listener.local_addr()?);
            runtime.spawn(accept(listener, broker.clone(), Arc::clone(&state)));
        }
        Ok(Self { addresses, state, _runtime: runtime })
    }

    /// Where the relays listen, in the order of the brokers: the proxy's upstreams.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Says which address stands in for each broker's. A broker without one is shown as it is, and is trouble.
    pub fn show(&self, instead: HashMap<Advertised, SocketAddr>) {
        *self.state.shown() = Shown::new(instead);
    }

    /// What a user should know: brokers without a route, answers that could not be read. Empty if all is well.
    pub fn trouble(&self) -> Vec<String> {
        let mut trouble: Vec<String> = self.state.trouble().iter().cloned().collect();
        for Advertised { host, port } in self.state.shown().unknown() {
            let what = "joined later and has no route: what clients do there is not seen";
            trouble.push(format!("broker {host}:{port} {what}"));
        }
        trouble
    }
}

impl State {
    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: tokio::net::TcpListener, broker: Advertised, state: Arc<State>) {
    loop {
        // An accept fails when the peer has gone again or descriptors are short: the next one may do.
        let Ok((client, _)) = listener.accept().await else { continue };
        let (broker, state) = (broker.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tokio::net::TcpStream::connect((broker.host.as_str(), broker.port as u16)).await {
                Ok(upstream) => {
                    if let Some(trouble) = connection::relay(client, upstream, &state.shown).await {
                        state.trouble().insert(trouble);
                    }
                }
                // The client sees a closed connection, as it would of a broker that is down.
                Err(_down) => drop(client),
            }
        });
    }
}

#[cfg(test)]
mod tests;
