//! Settings of what is counted and who reports it.

use kafkascope_telemetry::otlp::{self, Overrides, Protocol};
use kafkascope_telemetry::{Cap, Caps, ClientKey, Expiry, Resource, SampleRatio, Settings};

use super::flags::Flags;
use super::{Check, ConfigError, duration};

/// One exchange in a hundred.
const SAMPLE_RATIO: &str = "0.01";

/// Where to export to, by flags, file and the standard variables.
pub(super) fn export(typed: &Flags) -> Result<Option<otlp::Settings>, ConfigError> {
    let overrides = Overrides {
        endpoint: typed.otlp_endpoint.check("otlp-endpoint", url)?,
        protocol: typed.otlp_protocol.check("otlp-protocol", |text| Ok(text.parse::<Protocol>()?))?,
        interval: typed.export_interval.check("export-interval", duration::parse)?,
    };
    Ok(otlp::Settings::new(&overrides, |name| std::env::var(name).ok())?)
}

pub(super) fn check(typed: &Flags, export: Option<&otlp::Settings>) -> Result<Settings, ConfigError> {
    let Settings { caps, client_key, expiry, .. } = Settings::default();
    let ratio = typed.trace_sample_ratio.check("trace-sample-ratio", ratio)?;
    // Spans that nobody exports are not made.
    let spans = export.is_some_and(otlp::Settings::exports_traces).then_some(match ratio {
        Some(ratio) => ratio,
        None => sampler()?,
    });
    let caps = Caps {
        clients: typed.max_clients.check("max-clients", cap)?.unwrap_or(caps.clients),
        topics: typed.max_topics.check("max-topics", cap)?.unwrap_or(caps.topics),
        series: typed.max_series.check("max-series", cap)?.unwrap_or(caps.series),
        ..caps
    };
    Ok(Settings {
        caps,
        client_key: typed.client_key.check("client-key", key)?.unwrap_or(client_key),
        expiry: typed.expiry.check("expiry", time)?.unwrap_or(expiry),
        spans,
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

fn ratio(text: &str) -> Result<SampleRatio, String> {
    let wrong = || "is not a number between 0 and 1".to_owned();
    SampleRatio::new(text.parse().map_err(|_less_clear| wrong())?).map_err(|_less_clear| wrong())
}

fn url(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match address {
        Some(address) if !address.is_empty() && !address.starts_with(['/', ':']) => Ok(text.to_owned()),
        _ => Err("is not a URL such as http://127.0.0.1:4317".to_owned()),
    }
}

fn cap(text: &str) -> Result<Cap, String> {
    let values = text.parse().map_err(|_less_clear| "is not a whole number".to_owned())?;
    Cap::new(values).map_err(|_less_clear| "is not between 1 and 10,000,000".to_owned())
}

fn key(text: &str) -> Result<ClientKey, String> {
    match text {
        "id" => Ok(ClientKey::Id),
        "id+address" => Ok(ClientKey::IdAndAddress),
        _ => Err("is not one of id, id+address".to_owned()),
    }
}

fn time(text: &str) -> Result<Expiry, String> {
    Expiry::new(duration::parse(text)?).map_err(|_less_clear| "is not between 1s and 30 days".to_owned())
}
