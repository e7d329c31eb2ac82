//! The settings as typed: one structure for flags, environment and file.

use std::path::PathBuf;

use clap::Parser;
use serde::Deserialize;

use kafkascope_service::settings::Value;

/// Transparent Kafka proxy that measures what clients do.
///
/// Clients connect to LISTEN instead of the broker; every byte is passed on unchanged to UPSTREAM, and what passes
/// is measured: latency, batch sizes, compression, acks, by client. Each flag has an environment name, and a file
/// (--config) may set them all by their long names: flags win over the environment, the environment over the file.
#[derive(Debug, Default, Parser, Deserialize)]
#[command(name = "kafkascope-proxy", version, after_help = EXAMPLES)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Flags {
    /// Where to listen and where that leads; once for each broker.
    ///
    /// Options: observe=none|headers|full (else as --observe), name=CLUSTER (groups the routes of one cluster, and is shown
    /// in place of its id), id=N (the broker's node id, else learned where brokers advertise this port to clients). IPv6
    /// in brackets; host names are resolved at each connection.
    #[arg(long, env = "KAFKASCOPE_ROUTE", value_name = "LISTEN=UPSTREAM[,OPTION=..]", value_delimiter = ' ')]
    pub(super) route: Option<Vec<Value>>,

    /// Serve /healthz, /readyz, /metrics, /api/clients, /api/topics, /api/groups and /api/facts here.
    #[arg(long, env = "KAFKASCOPE_ADMIN", value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(super) admin: Option<Value>,

    /// The admin address of another proxy of the same clusters, e.g. http://10.0.0.7:9464; once for each. What it has seen
    /// is joined with what this one sees, so that lag is known where commits pass one proxy and records another.
    #[arg(long, env = "KAFKASCOPE_PEER", value_name = "URL", value_delimiter = ' ')]
    pub(super) peer: Option<Vec<Value>>,

    /// How much of the traffic is decoded: none, headers or full [default: full].
    #[arg(long, env = "KAFKASCOPE_OBSERVE", value_name = "DEPTH", allow_hyphen_values = true)]
    pub(super) observe: Option<Value>,

    /// Threads that forward [default: one for each processor].
    #[arg(long, env = "KAFKASCOPE_WORKERS", value_name = "N", allow_hyphen_values = true)]
    pub(super) workers: Option<Value>,

    /// Connections at once; more are closed [default: what the limit on open files allows].
    #[arg(long, env = "KAFKASCOPE_MAX_CONNECTIONS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_connections: Option<Value>,

    /// How long connecting to an upstream may take [default: 10s].
    #[arg(long, env = "KAFKASCOPE_CONNECT_TIMEOUT", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) connect_timeout: Option<Value>,

    /// How long connections may take to end after SIGTERM or SIGINT; a second signal ends at once [default: 30s].
    #[arg(long, env = "KAFKASCOPE_DRAIN_TIMEOUT", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) drain_timeout: Option<Value>,

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

    /// Share of exchanges that become spans, 0 to 1; those that fail or are slow do besides [default: 0.01].
    #[arg(long, env = "KAFKASCOPE_TRACE_SAMPLE_RATIO", value_name = "RATIO", allow_hyphen_values = true)]
    pub(super) trace_sample_ratio: Option<Value>,

    /// What spans are children of: none, or single, which is the sampled trace context (traceparent) of an exchange's
    /// records if there is exactly one. They are linked to all of them in any case [default: none].
    #[arg(long, env = "KAFKASCOPE_TRACE_PARENT", value_name = "PARENT", allow_hyphen_values = true)]
    pub(super) trace_parent: Option<Value>,

    /// What a client is: id+address or id, which folds all addresses that use an id [default: id+address].
    #[arg(long, env = "KAFKASCOPE_CLIENT_KEY", value_name = "KEY", allow_hyphen_values = true)]
    pub(super) client_key: Option<Value>,

    /// Tell clients apart by the principal they have authenticated as, too (user.name): on or off [default: off].
    #[arg(long, env = "KAFKASCOPE_PRINCIPAL", value_name = "ON_OR_OFF", allow_hyphen_values = true)]
    pub(super) principal: Option<Value>,

    /// Clients that are told apart, those with most traffic; the rest is counted together as "other" [default: 2000].
    #[arg(long, env = "KAFKASCOPE_MAX_CLIENTS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_clients: Option<Value>,

    /// Topics that are told apart [default: 2000].
    #[arg(long, env = "KAFKASCOPE_MAX_TOPICS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_topics: Option<Value>,

    /// Whether record bytes (kafkascope.record.io) are told apart by partition, too: true or false [default: false].
    #[arg(long, env = "KAFKASCOPE_PARTITIONS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(super) partitions: Option<Value>,

    /// Partitions that are told apart, of all topics together [default: 10000].
    #[arg(long, env = "KAFKASCOPE_MAX_PARTITIONS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_partitions: Option<Value>,

    /// Principals that are told apart [default: 1000].
    #[arg(long, env = "KAFKASCOPE_MAX_PRINCIPALS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_principals: Option<Value>,

    /// Series of all metrics together, about 1 kB each [default: 100000].
    #[arg(long, env = "KAFKASCOPE_MAX_SERIES", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_series: Option<Value>,

    /// A series that has not changed for so long is forgotten [default: 10m].
    #[arg(long, env = "KAFKASCOPE_EXPIRY", value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) expiry: Option<Value>,

    /// A TOML file with settings by their long names, e.g. route = ["127.0.0.1:19092=127.0.0.1:9092"].
    #[arg(long, env = "KAFKASCOPE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  One broker, metrics for Prometheus:
    kafkascope-proxy --route 127.0.0.1:19092=127.0.0.1:9092 --admin 127.0.0.1:9464
    curl 127.0.0.1:9464/api/clients
  Three brokers, each advertising the proxy's address to its clients:
    kafkascope-proxy --route [::]:9092=kafka-1.internal:9092,id=1 --route [::]:9093=kafka-2.internal:9092,id=2 \\
                     --route [::]:9094=kafka-3.internal:9092,id=3
  Metrics and one span in ten to a collector:
    kafkascope-proxy --route 127.0.0.1:19092=127.0.0.1:9092 --otlp-endpoint http://127.0.0.1:4317 \\
                     --trace-sample-ratio 0.1
  A live view of a proxy that runs (see kafkascope-proxy top --help):
    kafkascope-proxy top --admin 127.0.0.1:9464
  Forward only, decode nothing:
    kafkascope-proxy --route 127.0.0.1:19092=127.0.0.1:9092 --observe none

Exit status: 0 after a drain, 143 when a second signal cut it short, 64 for a wrong configuration, 71 when an address
cannot be bound.
RUST_LOG sets what is logged to standard error, e.g. RUST_LOG=debug.";

kafkascope_service::as_typed!(Flags:
    one admin observe workers max_connections connect_timeout drain_timeout otlp_endpoint otlp_protocol export_interval
        trace_sample_ratio trace_parent client_key principal max_clients max_topics partitions max_partitions
        max_principals max_series expiry,
    many route peer,
    flag config
);
