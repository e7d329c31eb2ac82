//! What the proxy is told: flags, then environment, then file, from text as typed to values that are known to be good.
//!
//! Nothing is bound or connected before everything has been checked. A mistake is reported as one sentence that names
//! the key, the value, and what would be right.

mod flags;
mod peer;
mod route;
mod telemetry;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;
use kafkascope_service::settings::{self, Check, count, duration, export};
pub use kafkascope_service::settings::{Host, ListenAddress, SettingsError as ConfigError, UpstreamAddress};
use kafkascope_telemetry::knowledge::MAX_PEERS;

use flags::Flags;
pub use peer::PeerUrl;
pub use route::{Observe, Route};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, and where that leads. At least one.
    pub routes: Vec<Route>,
    /// Where health, metrics and clients are served.
    pub admin: Option<ListenAddress>,
    /// Other proxies, whose facts are joined with ours.
    pub peers: Vec<PeerUrl>,
    /// Threads that forward.
    pub workers: NonZeroUsize,
    /// Connections that may live at once; `None`: as many as the limit on open files allows.
    pub max_connections: Option<NonZeroUsize>,
    /// How long connecting to an upstream may take, name resolution included.
    pub connect_timeout: Duration,
    /// How long a drain may take before the remaining connections are cut.
    pub drain_timeout: Duration,
    /// Bounds on what is counted.
    pub telemetry: kafkascope_telemetry::Settings,
    /// Where it is exported to.
    pub otlp: Option<kafkascope_telemetry::otlp::Settings>,
    /// Who reports, from the `OTEL_*` variables.
    pub resource: kafkascope_telemetry::Resource,
}

impl Config {
    /// From the command line (`arguments` begins with the program's name), the environment and the file they name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(arguments)?;
        let file = match &flags.config {
            Some(path) => {
                let mut file: Flags = settings::read(path)?;
                file.came_from(path);
                file
            }
            None => Flags::default(),
        };
        check(flags, file)
    }
}

fn check(flags: Flags, file: Flags) -> Result<Config, ConfigError> {
    let typed = flags.or(file);
    let observe = typed.observe.check("observe", Observe::parse)?.unwrap_or_default();
    let mut routes = Vec::new();
    let mut taken = HashSet::new();
    for value in typed.route.iter().flatten() {
        let route = value.check("route", |text| Route::parse(text, observe))?;
        if !taken.insert(route.listen.clone()) && route.listen.port() != 0 {
            return value.check("route", |_| Err("listens where another route listens already".to_owned()));
        }
        routes.push(route);
    }
    if routes.is_empty() {
        return Err(ConfigError::Missing(NO_ROUTE));
    }
    let mut peers = Vec::new();
    for value in typed.peer.iter().flatten() {
        if peers.len() >= MAX_PEERS {
            return value.check("peer", |_| Err(format!("is one more than {MAX_PEERS}")));
        }
        peers.push(value.check("peer", PeerUrl::parse)?);
    }
    let otlp = export(&typed.otlp_endpoint, &typed.otlp_protocol, &typed.export_interval)?;
    Ok(Config {
        routes,
        peers,
        telemetry: telemetry::check(&typed, otlp.as_ref())?,
        otlp,
        resource: telemetry::resource()?,
        admin: typed.admin.check("admin", ListenAddress::parse)?,
        workers: typed.workers.check("workers", count)?.unwrap_or_else(processors),
        max_connections: typed.max_connections.check("max-connections", count)?,
        connect_timeout: typed.connect_timeout.check("connect-timeout", duration::parse)?.unwrap_or(CONNECT_TIMEOUT),
        drain_timeout: typed.drain_timeout.check("drain-timeout", duration::parse)?.unwrap_or(DRAIN_TIMEOUT),
    })
}

const NO_ROUTE: &str = "--route: at least one is needed, e.g. --route 127.0.0.1:19092=127.0.0.1:9092";

/// Kafka clients give up a connection attempt after 10 s (`socket.connection.setup.timeout.ms`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What orchestrators wait before they kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
