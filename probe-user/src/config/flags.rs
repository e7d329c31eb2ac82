//! The settings as typed: one structure for flags, environment and file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use kafkascope_service::settings::Value;
use serde::Deserialize;

/// What the host of a Kafka broker knows and the wire cannot show.
///
/// Finds the brokers, ZooKeeper servers and proxies on this host by itself and reports page-cache reads, disk and fsync
/// latency, TCP retransmits, garbage collection, CPU, memory, files and whether they are up. Needs root, or the
/// capabilities that `kafkascope-probe doctor` lists; what it lacks is left out and said. Each flag has an environment
/// name, and a file (--config) may set them all by their long names: flags win over the environment, the environment
/// over the file.
#[derive(Debug, Default, Parser, Deserialize)]
#[command(name = "kafkascope-probe", version, after_help = EXAMPLES)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Flags {
    #[command(subcommand)]
    #[serde(skip)]
    pub(super) command: Option<Command>,

    /// Serve /healthz, /readyz and /metrics here; without it nothing listens.
    #[arg(long, env = "KAFKASCOPE_ADMIN", value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(super) admin: Option<Value>,

    /// Watch other processes, too: those whose command line matches a regular expression, whose cgroup does
    /// (NAME=cgroup:REGEX), or that listen at a port (NAME=port:N); may be repeated.
    #[arg(long, env = "KAFKASCOPE_WATCH", value_name = "NAME=REGEX", value_delimiter = ' ')]
    pub(super) watch: Option<Vec<Value>>,

    /// A process that should run, by the name that /metrics shows (broker-1, zookeeper-1, proxy-9092, NAME of a --watch):
    /// it is reported as down until it is seen; may be repeated.
    #[arg(long, env = "KAFKASCOPE_EXPECT", value_name = "NAME", value_delimiter = ' ')]
    pub(super) expect: Option<Vec<Value>>,

    /// For how long a process that was seen and is not expected is reported as down [default: 1h].
    #[arg(long, env = "KAFKASCOPE_FORGET_AFTER", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) forget_after: Option<Value>,

    /// What the kernel is asked by BPF: all, none, or some of page_cache,disk,fsync,tcp [default: all].
    #[arg(long, env = "KAFKASCOPE_SAMPLERS", value_name = "NAMES", allow_hyphen_values = true)]
    pub(super) samplers: Option<Value>,

    /// Whether page cache and fsync are told apart by partition, too: true or false [default: false].
    #[arg(long, env = "KAFKASCOPE_PARTITIONS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(super) partitions: Option<Value>,

    /// Files whose page-cache use is told apart at a time; the rest is counted by process only [default: 16384].
    #[arg(long, env = "KAFKASCOPE_MAX_FILES", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_files: Option<Value>,

    /// An fsync, disk request or garbage collection that takes so long becomes a span; so does one that takes longer than
    /// 99 in 100 others, if that is less [default: 100ms].
    #[arg(long, env = "KAFKASCOPE_SLOW", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) slow: Option<Value>,

    /// Export metrics and spans to this OpenTelemetry collector, e.g. http://127.0.0.1:4317. The standard
    /// OTEL_EXPORTER_OTLP_* variables are honoured, too; without any there is no export.
    #[arg(long, env = "KAFKASCOPE_OTLP_ENDPOINT", value_name = "URL", allow_hyphen_values = true)]
    pub(super) otlp_endpoint: Option<Value>,

    /// How to speak to the collector: grpc or http/protobuf [default: grpc].
    #[arg(long, env = "KAFKASCOPE_OTLP_PROTOCOL", value_name = "PROTOCOL", allow_hyphen_values = true)]
    pub(super) otlp_protocol: Option<Value>,

    /// Time between two exports [default: 10s].
    #[arg(long, env = "KAFKASCOPE_EXPORT_INTERVAL", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) export_interval: Option<Value>,

    /// Hosts at the other end of connections that are told apart; later ones are counted together as "other"
    /// [default: 2000].
    #[arg(long, env = "KAFKASCOPE_MAX_PEERS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_peers: Option<Value>,

    /// Topics that are told apart [default: 2000].
    #[arg(long, env = "KAFKASCOPE_MAX_TOPICS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_topics: Option<Value>,

    /// Series of all metrics together, about 1 kB each [default: 20000].
    #[arg(long, env = "KAFKASCOPE_MAX_SERIES", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_series: Option<Value>,

    /// A series that has not changed for so long is forgotten [default: 10m].
    #[arg(long, env = "KAFKASCOPE_EXPIRY", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) expiry: Option<Value>,

    /// A TOML file with settings by their long names, e.g. watch = ["connect=ConnectDistributed"].
    #[arg(long, env = "KAFKASCOPE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
}

/// What is asked for instead of watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Say what of this host can be watched, what is missing for the rest, and how to get it.
    Doctor,
}

const EXAMPLES: &str = "\
Examples:
  What works here:
    kafkascope-probe doctor
  Metrics for Prometheus:
    kafkascope-probe --admin 127.0.0.1:9465
    curl 127.0.0.1:9465/metrics
  To a collector, with Kafka Connect, and an alarm when broker 1 is not there:
    kafkascope-probe --otlp-endpoint http://127.0.0.1:4317 --watch connect=ConnectDistributed --expect broker-1
  Without a single BPF program:
    kafkascope-probe --admin 127.0.0.1:9465 --samplers none

Exit status: 0 after SIGTERM or SIGINT, 64 for a wrong configuration, 71 when an address cannot be bound; of doctor 0 when
all works, 1 when something is missing.
RUST_LOG sets what is logged to standard error, e.g. RUST_LOG=debug.";

kafkascope_service::as_typed!(Flags:
    one admin forget_after samplers partitions max_files slow otlp_endpoint otlp_protocol export_interval max_peers
        max_topics max_series expiry,
    many watch expect,
    flag command config
);
