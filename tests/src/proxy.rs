//! The real `kafkascope-proxy` as a child process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::http;
use crate::port::Port;
use crate::program::Program;
use crate::served::Served;

/// The proxy has nothing to wait for at its start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How to start the proxy.
#[derive(Debug, Clone, Default)]
pub struct ProxySpec {
    /// `LISTEN=UPSTREAM[,OPTION=..]`, as on the command line.
    pub routes: Vec<String>,
    /// More flags.
    pub flags: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
}

impl ProxySpec {
    /// A route for each pair of listen and upstream addresses.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) -> Self {
        let routes = routes.into_iter().map(|(listen, upstream)| format!("{listen}={upstream}")).collect();
        Self { routes, ..Self::default() }
    }

    /// Adds flags.
    #[must_use]
    pub fn flags<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }
}

/// A running proxy. Killed when dropped.
#[derive(Debug)]
pub struct Proxy(Served);

/// A row of `/api/clients`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct Client {
    pub client_id: String,
    pub address: String,
    pub software: Option<String>,
    pub principals: Vec<String>,
    pub connections: u64,
    pub oldest_connection_s: Option<f64>,
    pub retransmits: BTreeMap<String, u64>,
    pub apis: BTreeMap<String, ApiUse>,
    pub removed_in_4_0: BTreeMap<String, u64>,
    pub acks: BTreeMap<String, u64>,
    pub codecs: BTreeMap<String, u64>,
    pub batch_bytes_mean: Option<f64>,
    pub batch_records_mean: Option<f64>,
    pub records_per_s: f64,
    pub bytes_per_s: f64,
    pub produce_ms: Option<Latency>,
    pub fetch_ms: Option<Latency>,
    pub fetch_wait: BTreeMap<String, u64>,
    pub errors: BTreeMap<String, u64>,
}

/// An API in `/api/clients`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct ApiUse {
    pub requests: u64,
    pub min_version: Option<i64>,
    pub max_version: Option<i64>,
}

/// A latency in `/api/clients`, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Proxy {
    /// Starts one and waits until it is ready.
    pub fn start(spec: &ProxySpec) -> Result<Self> {
        Self::start_at(spec, Port::claim()?)
    }

    /// The same, with its admin endpoint at `admin`.
    pub fn start_at(spec: &ProxySpec, admin: Port) -> Result<Self> {
        let mut command = command()?;
        for route in &spec.routes {
            command.args(["--route", route]);
        }
        command.args(&spec.flags).envs(spec.environment.iter().map(|(key, value)| (key, value)));
        Ok(Self(Served::start("kafkascope-proxy", command, admin, START_LIMIT)?))
    }

    /// `/api/clients` now.
    pub fn clients(&self) -> Result<Vec<Client>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer {
            Named { clients: Vec<Client> },
            Bare(Vec<Client>),
        }
        let body = http::get(self.admin(), "/api/clients")?;
        let answer = serde_json::from_str(&body).with_context(|| format!("not a list of clients: {body}"))?;
        Ok(match answer {
            Answer::Named { clients } | Answer::Bare(clients) => clients,
        })
    }

    /// The row of `/api/clients` for a client id that only one client uses.
    pub fn client(&self, client_id: &str) -> Result<Client> {
        let mut rows = self.clients()?.into_iter().filter(|client| client.client_id == client_id);
        let row = rows.next().with_context(|| format!("/api/clients has no {client_id}"))?;
        ensure!(rows.next().is_none(), "/api/clients has {client_id} more than once");
        Ok(row)
    }
}

impl Deref for Proxy {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Served {
        &mut self.0
    }
}

/// The bare command, for tests of flags.
pub fn command() -> Result<Command> {
    Ok(Command::new(program()?))
}

/// The proxy's program.
pub fn program() -> Result<&'static PathBuf> {
    static PROGRAM: Program = Program::new("kafkascope-proxy", "KAFKASCOPE_PROXY");
    PROGRAM.path()
}
