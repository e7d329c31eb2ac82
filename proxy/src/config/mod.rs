//! What the proxy is told: flags, then environment, then file, from text as typed to values that are known to be good.
//!
//! Nothing is bound or connected before everything has been checked. A mistake is reported as one sentence that names
//! the key, the value, and what would be right.

mod address;
mod duration;
mod flags;
mod route;
mod telemetry;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

pub use address::{Host, ListenAddress, UpstreamAddress};
use flags::{Flags, Value};
pub use route::{Observe, Route};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, and where that leads. At least one.
    pub routes: Vec<Route>,
    /// Where health, metrics and clients are served.
    pub admin: Option<ListenAddress>,
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Wrong flags, or `--help` or `--version`.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file is not there or not readable.
    #[error("--config: {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that does not exist.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value is wrong.
    #[error("{key}: {value:?} {problem}")]
    Invalid {
        /// The flag, or the key and its file.
        key: String,
        /// As typed.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// `OTEL_RESOURCE_ATTRIBUTES` is wrong.
    #[error(transparent)]
    Resource(#[from] kafkascope_telemetry::InvalidResource),
    /// A flag or variable of the export is wrong.
    #[error(transparent)]
    Export(#[from] kafkascope_telemetry::otlp::SettingsError),
    /// There is nothing to do.
    #[error("--route: at least one is needed, e.g. --route 127.0.0.1:19092=127.0.0.1:9092")]
    NoRoute,
}

impl Config {
    /// From the command line (`arguments` begins with the program's name), the environment and the file they name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(arguments)?;
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => Flags::default(),
        };
        check(flags, file)
    }
}

fn read(path: &Path) -> Result<Flags, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let mut file: Flags = toml::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })?;
    file.came_from(path);
    Ok(file)
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
        return Err(ConfigError::NoRoute);
    }
    let otlp = telemetry::export(&typed)?;
    Ok(Config {
        routes,
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

/// Kafka clients give up a connection attempt after 10 s (`socket.connection.setup.timeout.ms`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What orchestrators wait before they kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_less_clear| "is not a whole number from 1".to_owned())
}

/// Checks a value that may be absent.
trait Check {
    fn check<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError>;
}

impl Check for Option<Value> {
    fn check<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        self.as_ref().map(|value| value.check(key, parse)).transpose()
    }
}

#[cfg(test)]
mod tests;
