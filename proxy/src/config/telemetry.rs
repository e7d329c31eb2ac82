//! Settings of what is counted and who reports it.

use kafkascope_telemetry::{Cap, Caps, ClientKey, Expiry, Resource, Settings};

use super::flags::Flags;
use super::{Check, ConfigError, duration};

pub(super) fn check(typed: &Flags) -> Result<Settings, ConfigError> {
    let Settings { caps, client_key, expiry, spans } = Settings::default();
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

fn cap(text: &str) -> Result<Cap, String> {
    let values = text.parse().map_err(|_| "is not a whole number".to_owned())?;
    Cap::new(values).map_err(|_| "is not between 1 and 10,000,000".to_owned())
}

fn key(text: &str) -> Result<ClientKey, String> {
    match text {
        "id" => Ok(ClientKey::Id),
        "id+address" => Ok(ClientKey::IdAndAddress),
        _ => Err("is not one of id, id+address".to_owned()),
    }
}

fn time(text: &str) -> Result<Expiry, String> {
    Expiry::new(duration::parse(text)?).map_err(|_| "is not between 1s and 30 days".to_owned())
}
