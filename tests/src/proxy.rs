//! The real `kafkascope-proxy` as a child process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::process::{Memory, Process};
use crate::program::Program;
use crate::prometheus::Scrape;

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
pub struct Proxy {
    process: Process,
    admin: Port,
    _folder: TempDir,
}

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
#[derive(Debug, Clone, Copy, Default, Deserialize)]
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
        let folder = tempfile::Builder::new().prefix("kafkascope-proxy-").tempdir()?;
        let mut command = command()?;
        command.arg("--admin").arg(admin.address().to_string());
        for route in &spec.routes {
            command.args(["--route", route]);
        }
        command.args(&spec.flags).envs(spec.environment.iter().map(|(key, value)| (key, value)));
        let process = Process::start("kafkascope-proxy", &command, &folder.path().join("log"))?;
        let mut proxy = Self { process, admin, _folder: folder };
        let admin = proxy.admin.address();
        proxy.process.until("the proxy to be ready", START_LIMIT, || Ok(http::ask(admin, "/readyz")?.0 == 200))?;
        Ok(proxy)
    }

    /// Address of its admin endpoint.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// `/metrics` now.
    pub fn metrics(&self) -> Result<Scrape> {
        Scrape::parse(&http::get(self.admin.address(), "/metrics")?)
    }

    /// `/api/clients` now.
    pub fn clients(&self) -> Result<Vec<Client>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer {
            Named { clients: Vec<Client> },
            Bare(Vec<Client>),
        }
        let body = http::get(self.admin.address(), "/api/clients")?;
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

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        self.process.memory()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// The end of what it has logged.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process.log_tail(12)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
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
