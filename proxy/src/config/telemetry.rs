//! Settings of what is counted and who reports it.

use kafkascope_service::settings::{Check, boolean, cap, expiry, ratio};
use kafkascope_telemetry::otlp;
use kafkascope_telemetry::{Caps, ClientKey, Resource, SampleRatio, Settings, TraceParent};

use super::ConfigError;
use super::flags::Flags;

/// One exchange in a hundred.
const SAMPLE_RATIO: &str = "0.01";

pub(super) fn check(typed: &Flags, export: Option<&otlp::Settings>) -> Result<Settings, ConfigError> {
    let default = Settings::default();
    let caps = default.caps;
    let ratio = typed.trace_sample_ratio.check("trace-sample-ratio", ratio)?;
    // Spans that nobody exports are not made.
    let spans = export.is_some_and(otlp::Settings::exports_traces).then_some(match ratio {
        Some(ratio) => ratio,
        None => sampler()?,
    });
    let caps = Caps {
        clients: typed.max_clients.check("max-clients", cap)?.unwrap_or(caps.clients),
        topics: typed.max_topics.check("max-topics", cap)?.unwrap_or(caps.topics),
        partitions: typed.max_partitions.check("max-partitions", cap)?.unwrap_or(caps.partitions),
        principals: typed.max_principals.check("max-principals", cap)?.unwrap_or(caps.principals),
        series: typed.max_series.check("max-series", cap)?.unwrap_or(caps.series),
        ..caps
    };
    Ok(Settings {
        caps,
        client_key: typed.client_key.check("client-key", key)?.unwrap_or(default.client_key),
        principal: typed.principal.check("principal", principal)?.unwrap_or(default.principal),
        partitions: typed.partitions.check("partitions", boolean)?.unwrap_or(default.partitions),
        expiry: typed.expiry.check("expiry", expiry)?.unwrap_or(default.expiry),
        spans,
        trace_parent: typed.trace_parent.check("trace-parent", parent)?.unwrap_or(default.trace_parent),
    })
}

pub(super) fn resource() -> Result<Resource, ConfigError> {
    Ok(Resource::new("kafkascope-proxy", env!("CARGO_PKG_VERSION"), |name| std::env::var(name).ok())?)
}

/// The sampler that the standard variables ask for.
fn sampler() -> Result<SampleRatio, ConfigError> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
    let argument = variable("OTEL_TRACES_SAMPLER_ARG");
    let text = match variable("OTEL_TRACES_SAMPLER").as_deref() {
        Some("always_on" | "parentbased_always_on") => "1",
        Some("always_off" | "parentbased_always_off") => "0",
        // Without its argument, all is sampled (OpenTelemetry's environment variable specification).
        Some("traceidratio" | "parentbased_traceidratio") => argument.as_deref().unwrap_or("1"),
        _ => argument.as_deref().unwrap_or(SAMPLE_RATIO),
    };
    ratio(text).map_err(|problem| ConfigError::Invalid {
        key: "OTEL_TRACES_SAMPLER_ARG".to_owned(),
        value: text.to_owned(),
        problem,
    })
}

fn principal(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is not one of on, off".to_owned()),
    }
}

fn parent(text: &str) -> Result<TraceParent, String> {
    match text {
        "none" => Ok(TraceParent::None),
        "single" => Ok(TraceParent::Single),
        _ => Err("is not one of none, single".to_owned()),
    }
}

fn key(text: &str) -> Result<ClientKey, String> {
    match text {
        "id" => Ok(ClientKey::Id),
        "id+address" => Ok(ClientKey::IdAndAddress),
        _ => Err("is not one of id, id+address".to_owned()),
    }
}
