//! Another proxy: the address of its admin server.

use std::fmt;

/// `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerUrl(String);

impl PeerUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not of the form http://HOST:PORT".to_owned();
        let address = text.trim_end_matches('/').strip_prefix("http://").ok_or_else(wrong)?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && address.chars().all(is_host) && port.parse::<u16>().is_ok() => {
                Ok(Self(address.to_owned()))
            }
            _ => Err(wrong()),
        }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}
