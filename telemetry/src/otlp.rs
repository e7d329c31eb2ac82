//! Export over OTLP: gRPC or HTTP/protobuf, encoded by ourselves from [`Snapshot`](crate::Snapshot)s and the queue of spans.
//!
//! The OpenTelemetry SDK is not used: it cannot take histograms that are already aggregated, and never ends a series.
//!
//! Export never touches a worker but to collect what it counted. A collector that is away costs nothing but memory that is
//! bounded: totals are sent again with the next interval, spans wait in a queue whose overflow is counted. Whatever does
//! not answer is given up after a time limit.

mod exporter;
mod metrics;
mod settings;
mod spans;
mod temporality;
mod transport;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};

use crate::attribute::Scalar;
use crate::resource::Resource;

pub use exporter::{Exporter, Report, Source};
pub use settings::{Aggregation, Compression, Overrides, Protocol, Settings, SettingsError, Temporality};
pub use spans::request as trace_request;
pub use transport::TransportError;

/// Largest payload: a gRPC server refuses more than 4 MiB by default; the rest is room for an error of the estimate.
const PAYLOAD: usize = 3 << 20;

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(text.to_owned()))
}

fn integer(key: &str, number: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(number))
}

fn scalar(key: &str, scalar: Scalar<'_>) -> KeyValue {
    match scalar {
        Scalar::Text(value) => text(key, value),
        Scalar::Integer(value) => integer(key, value),
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(resource: &Resource) -> opentelemetry_proto::tonic::resource::v1::Resource {
    opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: resource.iter().map(|(key, value)| text(key, value)).collect(),
        ..Default::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "kafkascope".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
