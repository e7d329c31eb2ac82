//! What the probe is told, checked before anything is loaded or bound.

mod flags;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;
use flags::{Command, Flags};
use kafkascope_service::settings::{self, Check, boolean, cap, count, duration, expiry, export};
pub use kafkascope_service::settings::{ListenAddress, SettingsError as ConfigError};
use kafkascope_telemetry::{Cap, Caps, Resource, SampleRatio, Settings};
use regex::Regex;
use regex::bytes::Regex as BytesRegex;

use crate::discovery::Rule;
use crate::kernel::{Limits, Wanted};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where health and metrics are served.
    pub admin: Option<ListenAddress>,
    /// Other processes to watch.
    pub rules: Vec<Rule>,
    /// Names of processes that should run.
    pub expected: Vec<String>,
    /// For how long one that was seen, and is not expected, is reported as down.
    pub forget_after: Duration,
    /// What the kernel is asked.
    pub samplers: Wanted,
    /// Whether partitions are told apart.
    pub partitions: bool,
    /// Files that are told apart at a time.
    pub max_files: NonZeroUsize,
    /// What takes so long becomes a span.
    pub slow: Duration,
    /// Bounds on what is counted.
    pub telemetry: Settings,
    /// Where it is exported to.
    pub otlp: Option<kafkascope_telemetry::otlp::Settings>,
    /// Who reports, from the `OTEL_*` variables.
    pub resource: Resource,
}

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Watch.
    Watch(Box<Config>),
    /// Say what works.
    Doctor(Box<Config>),
}

impl Task {
    /// From the command line (`arguments` begins with the program's name), the environment and the file they name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(arguments)?;
        let command = flags.command;
        let file = match &flags.config {
            Some(path) => {
                let mut file: Flags = settings::read(path)?;
                file.came_from(path);
                file
            }
            None => Flags::default(),
        };
        let config = Box::new(check(&flags.or(file))?);
        Ok(match command {
            Some(Command::Doctor) => Self::Doctor(config),
            None => Self::Watch(config),
        })
    }
}

impl Config {
    /// How much the kernel's programs may remember.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            files: u32::try_from(self.max_files.get()).unwrap_or(u32::MAX),
            peers: u32::try_from(self.telemetry.caps.clients.values()).unwrap_or(u32::MAX).min(MOST_PEERS),
            burst_gap: BURST_GAP,
            ..Limits::default()
        }
    }
}

/// The kernel's maps are allocated at once: 40 MB.
const MOST_PEERS: u32 = 16_384;

/// Misses of a file, or retransmits of a connection, further apart than this belong to two bursts.
pub(crate) const BURST_GAP: Duration = Duration::from_secs(1);

const FORGET_AFTER: Duration = Duration::from_secs(3600);
const SLOW: Duration = Duration::from_millis(100);

/// A quarter of a million open segments is a large broker; of them, few are read or written in a minute.
const MAX_FILES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// A host has fewer series than a proxy has clients, and the probe's memory is the broker's.
const MAX_SERIES: usize = 20_000;

fn check(typed: &Flags) -> Result<Config, ConfigError> {
    let otlp = export(&typed.otlp_endpoint, &typed.otlp_protocol, &typed.export_interval)?;
    let default = Settings::default();
    let caps = Caps {
        clients: typed.max_peers.check("max-peers", cap)?.unwrap_or(default.caps.clients),
        topics: typed.max_topics.check("max-topics", cap)?.unwrap_or(default.caps.topics),
        series: match typed.max_series.check("max-series", cap)? {
            Some(series) => series,
            None => Cap::new(MAX_SERIES).unwrap_or(default.caps.series),
        },
        ..default.caps
    };
    let telemetry = Settings {
        caps,
        expiry: typed.expiry.check("expiry", expiry)?.unwrap_or(default.expiry),
        // Slow events are few, and all are wanted; spans that nobody exports are not made.
        spans: otlp
            .as_ref()
            .is_some_and(kafkascope_telemetry::otlp::Settings::exports_traces)
            .then_some(SampleRatio::ALL),
        ..default
    };
    let rules = typed.watch.iter().flatten().map(|value| value.check("watch", rule)).collect::<Result<_, _>>()?;
    let expected = typed.expect.iter().flatten().map(|value| value.check("expect", name)).collect::<Result<_, _>>()?;
    Ok(Config {
        admin: typed.admin.check("admin", ListenAddress::parse)?,
        rules,
        expected,
        forget_after: typed.forget_after.check("forget-after", duration::parse)?.unwrap_or(FORGET_AFTER),
        samplers: typed.samplers.check("samplers", wanted)?.unwrap_or(Wanted::ALL),
        partitions: typed.partitions.check("partitions", boolean)?.unwrap_or(false),
        max_files: typed.max_files.check("max-files", files)?.unwrap_or(MAX_FILES),
        slow: typed.slow.check("slow", duration::parse)?.unwrap_or(SLOW),
        telemetry,
        otlp,
        resource: Resource::new("kafkascope-probe", env!("CARGO_PKG_VERSION"), |name| std::env::var(name).ok())?,
    })
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "all" => return Ok(Wanted::ALL),
        "none" => return Ok(Wanted::NONE),
        _ => {}
    }
    let mut wanted = Wanted::NONE;
    for name in text.split(',') {
        match name.trim() {
            "page_cache" => wanted.page_cache = true,
            "disk" => wanted.disk = true,
            "fsync" => wanted.fsync = true,
            "tcp" => wanted.tcp = true,
            other => return Err(format!("has {other:?}, which is none of page_cache, disk, fsync, tcp")),
        }
    }
    Ok(wanted)
}

/// The kernel's maps are allocated at once: a million files are 200 MB.
fn files(text: &str) -> Result<NonZeroUsize, String> {
    match count(text)? {
        files if files.get() <= 1_000_000 => Ok(files),
        _ => Err("is more than 1,000,000".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// `NAME=REGEX`, `NAME=cgroup:REGEX` or `NAME=port:N`.
fn rule(text: &str) -> Result<Rule, String> {
    let (name, what) = text
        .split_once('=')
        .filter(|(name, what)| !name.is_empty() && !what.is_empty())
        .ok_or_else(|| "is not of the form NAME=REGEX, NAME=cgroup:REGEX or NAME=port:N".to_owned())?;
    let wrong = |error| format!("has a regular expression that is none: {error}");
    let empty = Rule { name: name.to_owned(), command_line: None, cgroup: None, port: None };
    if let Some(pattern) = what.strip_prefix("cgroup:") {
        return Ok(Rule { cgroup: Some(Regex::new(pattern).map_err(wrong)?), ..empty });
    }
    if let Some(port) = what.strip_prefix("port:") {
        let port = port.parse().map_err(|_less_clear| format!("has no port from 1 to 65535: {port:?}"))?;
        return Ok(Rule { port: Some(port), ..empty });
    }
    Ok(Rule { command_line: Some(BytesRegex::new(what).map_err(wrong)?), ..empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arguments: &[&str]) -> Result<Config, ConfigError> {
        match Task::load(["kafkascope-probe"].iter().chain(arguments).map(Into::into))? {
            Task::Watch(config) | Task::Doctor(config) => Ok(*config),
        }
    }

    #[test]
    fn each_mistake_is_told_with_its_key_and_value() {
        let table: &[(&[&str], &[&str])] = &[
            (&["--watch", "connect"], &["--watch", "connect", "NAME=REGEX"]),
            (&["--watch", "connect=("], &["--watch", "connect=(", "regular expression"]),
            (&["--watch", "a=port:0x"], &["--watch", "0x"]),
            (&["--samplers", "disk,cpu"], &["--samplers", "cpu", "page_cache"]),
            (&["--slow", "3"], &["--slow", "\"3\"", "10s"]),
            (&["--partitions", "maybe"], &["--partitions", "maybe"]),
            (&["--max-files", "0"], &["--max-files", "\"0\""]),
            (&["--max-files", "2000000"], &["--max-files", "1,000,000"]),
            (&["--max-peers", "-1"], &["--max-peers", "-1"]),
            (&["--admin", "9465"], &["--admin", "9465"]),
            (&["--config", "/nowhere/x.toml"], &["--config", "/nowhere/x.toml"]),
        ];
        for (arguments, parts) in table {
            let message = load(arguments).expect_err(&format!("{arguments:?} is wrong")).to_string();
            for part in *parts {
                assert!(message.contains(part), "{arguments:?}: {message:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn a_rule_is_by_command_line_cgroup_or_port() {
        let config = load(&["--watch", "a=x=y", "--watch", "b=cgroup:kafka", "--watch", "c=port:80"]).unwrap();
        let [a, b, c] = &config.rules[..] else { panic!("three rules") };
        assert_eq!((a.name.as_str(), a.command_line.as_ref().unwrap().as_str()), ("a", "x=y"));
        assert_eq!(b.cgroup.as_ref().unwrap().as_str(), "kafka");
        assert_eq!(c.port, Some(80));
    }

    #[test]
    fn samplers_are_all_none_or_some() {
        let samplers = |text| load(&["--samplers", text]).unwrap().samplers;
        assert_eq!(samplers("all"), Wanted::ALL);
        assert_eq!(samplers("none"), Wanted::NONE);
        assert_eq!(samplers("disk, tcp"), Wanted { disk: true, tcp: true, ..Wanted::NONE });
    }
}
