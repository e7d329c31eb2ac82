//! Addresses: `127.0.0.1:9092`, `[::1]:9092`, `kafka-1.internal:9092`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Where to listen. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress(Endpoint);

/// Where to connect to. A name is resolved at each connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress(Endpoint);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Endpoint {
    host: Host,
    port: u16,
}

/// A host as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name to resolve.
    Name(String),
}

impl ListenAddress {
    /// From text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Endpoint::parse(text).map(Self)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// What it stands for: of a name all its addresses. Blocks while a name is resolved.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve()
    }
}

impl UpstreamAddress {
    /// From text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match Endpoint::parse(text)? {
            Endpoint { port: 0, .. } => Err("has port 0, to which nothing connects".to_owned()),
            endpoint => Ok(Self(endpoint)),
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// What it stands for: of a name all its addresses. Blocks while a name is resolved.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve()
    }
}

impl Endpoint {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => Ok((name.as_str(), self.port).to_socket_addrs()?.collect()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not an address such as 127.0.0.1:9092, [::1]:9092 or localhost:9092".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port
            .parse()
            .map_err(|_less_clear| format!("has no port from 0 to 65535 after the last colon: {port:?}"))?;
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
            Host::Ip(IpAddr::V6(inner.parse::<Ipv6Addr>().map_err(|_less_clear| wrong())?))
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            if ip.is_ipv6() {
                return Err("has an IPv6 address without brackets, e.g. [::1]:9092".to_owned());
            }
            Host::Ip(ip)
        } else if is_name(host) {
            Host::Name(host.to_owned())
        } else {
            return Err(wrong());
        };
        Ok(Self { host, port })
    }
}

/// Letters, digits, `-`, `.` and, seen in the wild, `_`; not something that only looks like an IPv4 address.
fn is_name(host: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty() && host.len() <= 253 && host.chars().all(legal) && host.chars().any(|c| c.is_ascii_alphabetic())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
