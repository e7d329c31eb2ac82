//! What the admin server says: questions in HTTP/1.1, one connection each, and answers in JSON.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::UpstreamAddress;

/// How long an answer may take, and each step to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer. A row of a client that uses many APIs and topics has some 10 kB, and there are 2,000 rows by default.
const ANSWER_LIMIT: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// Nobody is there, or does not speak in time.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not what an admin server says.
    #[error("{path}: {what}")]
    Foreign {
        /// What was asked for.
        path: &'static str,
        /// What is wrong with the answer.
        what: String,
    },
}

/// The admin server of a proxy.
#[derive(Debug, Clone)]
pub(super) struct Api(UpstreamAddress);

/// What a proxy knows at a moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) clients: Vec<Client>,
    pub(super) topics: Vec<Topic>,
    /// Empty also where the proxy knows nothing of groups.
    pub(super) groups: Vec<Group>,
}

/// A row of `/api/clients`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) address: String,
    pub(super) software: Option<String>,
    pub(super) connections: u64,
    pub(super) rtt_ms: BTreeMap<String, Latency>,
    pub(super) apis: BTreeMap<String, ApiUse>,
    pub(super) removed_in_4_0: BTreeMap<String, u64>,
    pub(super) acks: BTreeMap<String, u64>,
    pub(super) codecs: BTreeMap<String, u64>,
    pub(super) batch_bytes_mean: Option<f64>,
    pub(super) records_per_s: f64,
    pub(super) bytes_per_s: f64,
    pub(super) topics: Vec<TopicUse>,
    pub(super) produce_ms: Option<Latency>,
    pub(super) fetch_ms: Option<Latency>,
    pub(super) errors: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApiUse {
    pub(super) requests: u64,
    pub(super) min_version: Option<i64>,
    pub(super) max_version: Option<i64>,
}

/// What passed between a client and a topic.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Moved {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) records_in: u64,
    pub(super) records_out: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopicUse {
    pub(super) topic: String,
    #[serde(flatten)]
    pub(super) moved: Moved,
}

/// A row of `/api/topics`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Topic {
    pub(super) topic: String,
    pub(super) cluster: Option<String>,
    pub(super) bytes_in_per_s: f64,
    pub(super) bytes_out_per_s: f64,
    pub(super) records_in_per_s: f64,
    pub(super) records_out_per_s: f64,
    pub(super) batch_bytes_mean: Option<f64>,
    pub(super) codecs: BTreeMap<String, u64>,
    pub(super) producers: u64,
    pub(super) consumers: u64,
    pub(super) clients: Vec<ClientUse>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientUse {
    pub(super) client_id: String,
    pub(super) address: String,
    #[serde(flatten)]
    pub(super) moved: Moved,
}

/// A row of `/api/groups`. What is not known is null or left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    pub(super) group: String,
    pub(super) state: Option<String>,
    pub(super) members: Option<Amount>,
    pub(super) topics: Option<Amount>,
    pub(super) lag: Option<f64>,
    pub(super) time_lag_s: Option<f64>,
    pub(super) commit_rate: Option<f64>,
    pub(super) rebalances: Option<f64>,
    pub(super) attribution: Option<String>,
}

/// How many, or which.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Count(u64),
    List(Vec<serde::de::IgnoredAny>),
    Map(BTreeMap<String, serde::de::IgnoredAny>),
}

impl Amount {
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Count(count) => *count,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
        }
    }
}

impl Api {
    pub(super) fn new(address: UpstreamAddress) -> Self {
        Self(address)
    }

    pub(super) fn address(&self) -> &UpstreamAddress {
        &self.0
    }

    /// All that is known now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, ApiError> {
        Ok(Snapshot {
            clients: self.rows("/api/clients")?,
            topics: self.rows("/api/topics")?,
            groups: self.rows("/api/groups")?,
            at: Instant::now(),
        })
    }

    /// The same as it is said, for machines.
    pub(super) fn json(&self) -> Result<String, ApiError> {
        let rows = |path| self.rows::<serde_json::Value>(path).map(serde_json::Value::from);
        let all = serde_json::json!({
            "clients": rows("/api/clients")?,
            "topics": rows("/api/topics")?,
            "groups": rows("/api/groups")?,
        });
        Ok(format!("{all:#}\n"))
    }

    /// An older proxy does not know the path, and has no rows for it.
    fn rows<T: DeserializeOwned>(&self, path: &'static str) -> Result<Vec<T>, ApiError> {
        let foreign = |what: String| ApiError::Foreign { path, what };
        let answer = self.ask(path)?;
        let (status, body) = parse(&answer).ok_or_else(|| foreign("not an answer in HTTP".to_owned()))?;
        match status {
            404 => Ok(Vec::new()),
            200 => serde_json::from_slice(body).map_err(|error| foreign(error.to_string())),
            other => Err(foreign(format!("status {other}"))),
        }
    }

    fn ask(&self, path: &str) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = self.connect()?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Self(address) = self;
        let question = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        let mut rest = (&stream).take(ANSWER_LIMIT);
        let mut piece = [0; 16 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            match rest.read(&mut piece) {
                Ok(0) => return Ok(answer),
                Ok(count) => answer.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The name of a read that took too long.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in self.0.resolve()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Status and body. The server sends a whole body with its length, and closes.
fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (version, status) = (first.next()?, first.next()?.parse().ok()?);
    let body = answer.get(end + 4..)?;
    let length = lines.filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value).next();
    let whole = length.is_none_or(|length| length.trim().parse() == Ok(body.len()));
    (version.starts_with("HTTP/1.") && whole).then_some((status, body))
}

#[cfg(test)]
mod parsing {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_off_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
        assert_eq!(parse(whole), Some((200, &b"[]"[..])));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
