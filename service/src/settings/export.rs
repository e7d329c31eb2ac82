//! Settings of what is counted and where it is exported to.

use kafkascope_telemetry::otlp::{Overrides, Protocol, Settings};
use kafkascope_telemetry::{Cap, Expiry, SampleRatio};

use super::{Check, SettingsError, Value, duration};

/// Where to export to, by flags, file and the standard variables.
///
/// # Errors
/// One of them is wrong.
pub fn export(
    endpoint: &Option<Value>,
    protocol: &Option<Value>,
    interval: &Option<Value>,
) -> Result<Option<Settings>, SettingsError> {
    let overrides = Overrides {
        endpoint: endpoint.check("otlp-endpoint", url)?,
        protocol: protocol.check("otlp-protocol", |text| Ok(text.parse::<Protocol>()?))?,
        interval: interval.check("export-interval", duration::parse)?,
    };
    Ok(Settings::new(&overrides, |name| std::env::var(name).ok())?)
}

/// A share.
///
/// # Errors
/// What is wrong with it.
pub fn ratio(text: &str) -> Result<SampleRatio, String> {
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

/// A bound on cardinality.
///
/// # Errors
/// What is wrong with it.
pub fn cap(text: &str) -> Result<Cap, String> {
    let values = text.parse().map_err(|_less_clear| "is not a whole number".to_owned())?;
    Cap::new(values).map_err(|_less_clear| "is not between 1 and 10,000,000".to_owned())
}

/// A time after which a series is forgotten.
///
/// # Errors
/// What is wrong with it.
pub fn expiry(text: &str) -> Result<Expiry, String> {
    Expiry::new(duration::parse(text)?).map_err(|_less_clear| "is not between 1s and 30 days".to_owned())
}
