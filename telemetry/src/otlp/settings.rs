//! Where and how to export: flags of the command line above the standard `OTEL_*` variables, validated.
//!
//! Honoured, with their `_METRICS_` and `_TRACES_` variants where the specification has them: `OTEL_EXPORTER_OTLP_`
//! `ENDPOINT`, `PROTOCOL`, `HEADERS`, `TIMEOUT`, `COMPRESSION`, `CERTIFICATE`, `CLIENT_KEY`, `CLIENT_CERTIFICATE`,
//! `INSECURE`, `METRICS_TEMPORALITY_PREFERENCE`, `METRICS_DEFAULT_HISTOGRAM_AGGREGATION` (here exponential unless told
//! otherwise); `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRICS_EXPORTER`, `OTEL_TRACES_EXPORTER`, `OTEL_SDK_DISABLED`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::metrics::Shape;
use crate::resource::percent_decoded;

/// What the command line and the configuration file say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Base URL of the collector for both signals.
    pub endpoint: Option<String>,
    /// How to speak to it.
    pub protocol: Option<Protocol>,
    /// Time between two exports of metrics.
    pub interval: Option<Duration>,
}

/// How to export.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) interval: Duration,
    pub(super) shape: Shape,
    pub(super) metrics: Option<Destination>,
    pub(super) traces: Option<Destination>,
}

/// Where a signal goes.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    /// With the signal's path when the protocol is HTTP.
    pub(super) url: String,
    pub(super) protocol: Protocol,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) compression: Compression,
    pub(super) certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
}

/// The protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf in HTTP POST.
    HttpProtobuf,
}

/// Compression of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard, which not every collector takes.
    Zstd,
}

/// What counters and histograms tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    /// The total since the series began.
    #[default]
    Cumulative,
    /// What was added since the last delivery.
    Delta,
}

/// How histograms are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    /// As they are kept.
    #[default]
    Exponential,
    /// By the fixed bounds of the metric table, for backends that know no others.
    Explicit,
}

/// A variable or flag that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: `{value}` {problem}")]
pub struct SettingsError {
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: String,
    /// What is wrong with that.
    pub problem: &'static str,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::HttpProtobuf),
            _ => Err("is neither `grpc` nor `http/protobuf`"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        })
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl Settings {
    /// What `overrides` and the environment together say; `None` when nobody names an endpoint, or all export is
    /// switched off.
    ///
    /// # Errors
    /// Names the first key that cannot be used.
    pub fn new(
        overrides: &Overrides,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let environment = Environment { variable: |key: &str| variable(key).filter(|value| !value.trim().is_empty()) };
        if environment.flag("OTEL_SDK_DISABLED")? == Some(true) {
            return Ok(None);
        }
        let metrics = environment.destination(overrides, Signal::METRICS)?;
        let traces = environment.destination(overrides, Signal::TRACES)?;
        let interval = match overrides.interval {
            Some(interval) => interval,
            None => environment.millis("OTEL_METRIC_EXPORT_INTERVAL")?.unwrap_or(DEFAULT_INTERVAL),
        };
        if interval < SHORTEST_INTERVAL {
            let key = if overrides.interval.is_some() { "export-interval" } else { "OTEL_METRIC_EXPORT_INTERVAL" };
            return Err(error(key, &format!("{interval:?}"), "is below 100 ms"));
        }
        let shape = Shape { temporality: environment.temporality()?, aggregation: environment.aggregation()? };
        Ok((metrics.is_some() || traces.is_some()).then_some(Self { interval, shape, metrics, traces }))
    }

    /// Whether spans are exported, so that it makes sense to make any.
    #[must_use]
    pub fn exports_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Time between two exports of metrics.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

fn error(key: &str, value: &str, problem: &'static str) -> SettingsError {
    SettingsError { key: key.to_owned(), value: value.to_owned(), problem }
}

/// The names that differ by signal.
#[derive(Clone, Copy)]
struct Signal {
    /// In `OTEL_EXPORTER_OTLP_.._ENDPOINT`.
    infix: &'static str,
    path: &'static str,
    exporter: &'static str,
}

impl Signal {
    const METRICS: Self = Self { infix: "METRICS", path: "v1/metrics", exporter: "OTEL_METRICS_EXPORTER" };
    const TRACES: Self = Self { infix: "TRACES", path: "v1/traces", exporter: "OTEL_TRACES_EXPORTER" };
}

struct Environment<F> {
    variable: F,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// The value that is special to the signal, else the general one, with the name it was found under.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let special = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.infix);
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        [special, general].into_iter().find_map(|key| (self.variable)(&key).map(|value| (key, value.trim().to_owned())))
    }

    fn destination(&self, overrides: &Overrides, signal: Signal) -> Result<Option<Destination>, SettingsError> {
        match (self.variable)(signal.exporter).as_deref().map(str::trim) {
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => return Err(error(signal.exporter, other, "is neither `otlp` nor `none`")),
        }
        let special = (self.variable)(&format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.infix));
        let (key, url, is_base) = match (&overrides.endpoint, special, (self.variable)("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(url), _, _) => ("otlp-endpoint".to_owned(), url.clone(), true),
            (None, Some(url), _) => (format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.infix), url, false),
            (None, None, Some(url)) => ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), url, true),
            (None, None, None) => return Ok(None),
        };
        let protocol = match (overrides.protocol, self.of_signal(signal, "PROTOCOL")) {
            (Some(protocol), _) => protocol,
            (None, Some((key, value))) => value.parse().map_err(|problem| error(&key, &value, problem))?,
            (None, None) => Protocol::default(),
        };
        let url = self.url(signal, &key, url.trim(), protocol, is_base)?;
        let file = |what| self.of_signal(signal, what).map(|(_, path)| PathBuf::from(path));
        Ok(Some(Destination {
            url,
            protocol,
            headers: self.headers(signal)?,
            timeout: match self.of_signal(signal, "TIMEOUT") {
                Some((key, value)) => millis(&key, &value)?,
                None => DEFAULT_TIMEOUT,
            },
            compression: match self.of_signal(signal, "COMPRESSION") {
                Some((key, value)) => match value.as_str() {
                    "none" => Compression::None,
                    "gzip" => Compression::Gzip,
                    "zstd" => Compression::Zstd,
                    _ => return Err(error(&key, &value, "is neither `gzip`, `zstd` nor `none`")),
                },
                None => Compression::default(),
            },
            certificate: file("CERTIFICATE"),
            client_key: file("CLIENT_KEY"),
            client_certificate: file("CLIENT_CERTIFICATE"),
        }))
    }

    fn url(
        &self,
        signal: Signal,
        key: &str,
        url: &str,
        protocol: Protocol,
        is_base: bool,
    ) -> Result<String, SettingsError> {
        let url = match url.split_once("://") {
            Some(("http" | "https", _)) => url.to_owned(),
            Some(_) => return Err(error(key, url, "is neither an http:// nor an https:// URL")),
            // The specification's rule for gRPC endpoints without a scheme.
            None => {
                let insecure = match self.of_signal(signal, "INSECURE") {
                    Some((key, value)) => flag(&key, &value)?,
                    None => false,
                };
                format!("{}://{url}", if insecure { "http" } else { "https" })
            }
        };
        let parsed = reqwest::Url::parse(&url).map_err(|_unspecific| error(key, &url, "is no URL"))?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(error(key, &url, "has no host"));
        }
        Ok(match protocol {
            Protocol::HttpProtobuf if is_base => format!("{}/{}", url.trim_end_matches('/'), signal.path),
            Protocol::HttpProtobuf | Protocol::Grpc => url,
        })
    }

    /// `key=value,key=value`, values percent-encoded.
    fn headers(&self, signal: Signal) -> Result<Vec<(String, String)>, SettingsError> {
        let Some((key, all)) = self.of_signal(signal, "HEADERS") else { return Ok(Vec::new()) };
        // Headers hold secrets: the message names the key only.
        let malformed = || error(&key, "..", "is not of the form key=value,key=value");
        let mut headers = Vec::new();
        for pair in all.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
            let name = name.trim().to_ascii_lowercase();
            let value = percent_decoded(value.trim()).ok_or_else(malformed)?;
            let is_name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok();
            if !is_name || reqwest::header::HeaderValue::from_str(&value).is_err() {
                return Err(malformed());
            }
            headers.push((name, value));
        }
        Ok(headers)
    }

    fn temporality(&self) -> Result<Temporality, SettingsError> {
        let key = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        match (self.variable)(key).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
            None | Some("cumulative") => Ok(Temporality::Cumulative),
            Some("delta" | "lowmemory") => Ok(Temporality::Delta),
            Some(other) => Err(error(key, other, "is neither `cumulative`, `delta` nor `lowmemory`")),
        }
    }

    fn aggregation(&self) -> Result<Aggregation, SettingsError> {
        let key = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        match (self.variable)(key).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
            None | Some("base2_exponential_bucket_histogram") => Ok(Aggregation::Exponential),
            Some("explicit_bucket_histogram") => Ok(Aggregation::Explicit),
            Some(other) => Err(error(
                key,
                other,
                "is neither `base2_exponential_bucket_histogram` nor `explicit_bucket_histogram`",
            )),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        (self.variable)(key).map(|value| flag(key, value.trim())).transpose()
    }

    fn millis(&self, key: &str) -> Result<Option<Duration>, SettingsError> {
        (self.variable)(key).map(|value| millis(key, value.trim())).transpose()
    }
}

fn flag(key: &str, value: &str) -> Result<bool, SettingsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(error(key, value, "is neither `true` nor `false`")),
    }
}

fn millis(key: &str, value: &str) -> Result<Duration, SettingsError> {
    match value.parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(error(key, value, "is not a number of milliseconds above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(overrides: Overrides, variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::new(&overrides, |key| {
            variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        })
    }

    fn at(endpoint: &str) -> Overrides {
        Overrides { endpoint: Some(endpoint.to_owned()), ..Overrides::default() }
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert!(settings(Overrides::default(), &[]).unwrap().is_none());
        assert!(settings(at("http://c:4317"), &[("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        let none = [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none")];
        assert!(settings(at("http://c:4317"), &none).unwrap().is_none());
    }

    #[test]
    fn the_flag_stands_above_the_variables() {
        let variables =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:1"), ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:1")];
        let settings = settings(at("http://a:4317"), &variables).unwrap().unwrap();
        assert_eq!(settings.metrics.unwrap().url, "http://a:4317");
        assert_eq!(settings.interval, Duration::from_secs(10));
    }

    #[test]
    fn an_http_base_gets_the_path_and_a_signals_own_endpoint_does_not() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318/x/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/own"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ];
        let settings = settings(Overrides::default(), &variables).unwrap().unwrap();
        assert_eq!(settings.metrics.unwrap().url, "http://b:4318/x/v1/metrics");
        assert_eq!(settings.traces.unwrap().url, "http://t:4318/own");
    }

    #[test]
    fn a_signals_own_variable_stands_above_the_general_one() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "Authorization=Basic%20eA==,b=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ];
        let settings = settings(at("http://a:4317"), &variables).unwrap().unwrap();
        let (metrics, traces) = (settings.metrics.unwrap(), settings.traces.unwrap());
        assert_eq!(metrics.headers, [("authorization".into(), "Basic eA==".into()), ("b".into(), "2".into())]);
        assert_eq!(traces.headers, [("a".into(), "1".into())]);
        assert_eq!(metrics.timeout, Duration::from_millis(1500));
        assert_eq!((metrics.compression, traces.compression), (Compression::None, Compression::Gzip));
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_secure_unless_told_otherwise() {
        let secure = settings(at("collector:4317"), &[]).unwrap().unwrap();
        assert_eq!(secure.metrics.unwrap().url, "https://collector:4317");
        let insecure = settings(at("collector:4317"), &[("OTEL_EXPORTER_OTLP_INSECURE", "true")]).unwrap().unwrap();
        assert_eq!(insecure.metrics.unwrap().url, "http://collector:4317");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (key, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "lzma"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "alpha"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "none"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_SDK_DISABLED", "yes"),
        ] {
            assert_eq!(settings(at("http://a:1"), &[(key, value)]).unwrap_err().key, key);
        }
        for endpoint in ["ftp://a", "http://", "http://a:port"] {
            assert_eq!(settings(at(endpoint), &[]).unwrap_err().key, "otlp-endpoint", "{endpoint}");
        }
        let secret = settings(at("http://a:1"), &[("OTEL_EXPORTER_OTLP_HEADERS", "secret")]).unwrap_err();
        assert!(!secret.to_string().contains("secret"));
    }
}
