//! Other proxies: asked once a second for what they have seen.
//!
//! They are not trusted further than that: an answer is bounded in size and time, what cannot be true is left out and
//! counted, and what a proxy told is forgotten when it has not answered for a while or has begun anew.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kafkascope_protocol::Timestamp;
use kafkascope_service::RateLimit;
use kafkascope_telemetry::Registry;
use kafkascope_telemetry::knowledge::{Page, Peer};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::config::PeerUrl;
use crate::forward::Clock;

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(1);

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A peer that has not answered for so long is away: what it told is not believed any more.
const AWAY: Duration = Duration::from_secs(15);

/// Longest answer. A page of ours has about 1 MB.
const LONGEST: usize = 16 << 20;

/// Pages that are asked for in a row.
const PAGES: usize = 64;

/// Why a peer's answer is none.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    #[error("no answer in {TIMEOUT:?}")]
    Timeout,
    #[error("it answers with status {0}")]
    Status(StatusCode),
    #[error("its answer broke off, or is longer than {LONGEST} bytes")]
    Body,
    #[error("its answer is not that of a proxy: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Follows each peer until the runtime ends.
pub(crate) fn follow(peers: &[PeerUrl], registry: &Arc<Registry>, clock: Clock) {
    for url in peers {
        let Some(peer) = registry.knowledge().peer() else { break };
        let follower = Follower {
            url: url.clone(),
            peer,
            registry: Arc::clone(registry),
            clock,
            instance: None,
            cursor: 0,
            heard: Instant::now(),
            failing: RateLimit::default(),
        };
        tokio::spawn(follower.run());
    }
}

struct Follower {
    url: PeerUrl,
    peer: Peer,
    registry: Arc<Registry>,
    clock: Clock,
    /// Who answered last; `None`: nothing is known from it.
    instance: Option<String>,
    cursor: u64,
    heard: Instant,
    failing: RateLimit,
}

impl Follower {
    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for _ in 0..PAGES {
                let answer = timeout(TIMEOUT, ask(&self.url, self.instance.as_deref(), self.cursor)).await;
                let more = match answer.unwrap_or(Err(PeerError::Timeout)) {
                    Ok(page) => self.learn(page),
                    Err(error) => {
                        self.failed(&error);
                        false
                    }
                };
                if !more {
                    break;
                }
            }
        }
    }

    /// Whether there is more.
    fn learn(&mut self, page: Page) -> bool {
        let knowledge = self.registry.knowledge();
        self.heard = Instant::now();
        if page.instance == knowledge.instance() {
            if let Some(suppressed) = self.failing.pass() {
                warn!(url = %self.url, suppressed, "this peer is this proxy itself");
            }
            return false;
        }
        // An id goes into the next URL, and is compared: no more than ours has is needed.
        let is_id = page.instance.len() <= 64 && page.instance.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_id {
            return false;
        }
        if self.instance.as_ref() != Some(&page.instance) {
            knowledge.forget_peer(self.peer);
            info!(url = %self.url, instance = page.instance, "peer answers");
        }
        let moved = page.cursor != self.cursor;
        knowledge.learn_peer(self.peer, &page.instance, page.facts, Timestamp(self.clock.now().0));
        (self.instance, self.cursor) = (Some(page.instance), page.cursor);
        page.more && moved
    }

    fn failed(&mut self, error: &PeerError) {
        if let Some(suppressed) = self.failing.pass() {
            warn!(url = %self.url, %error, suppressed, "peer does not answer");
        }
        if self.instance.is_some() && self.heard.elapsed() > AWAY {
            warn!(url = %self.url, "peer is away: what it told is forgotten");
            self.registry.knowledge().forget_peer(self.peer);
            (self.instance, self.cursor) = (None, 0);
        }
    }
}

async fn ask(url: &PeerUrl, instance: Option<&str>, cursor: u64) -> Result<Page, PeerError> {
    let instance = instance.unwrap_or_default();
    let path = format!("/api/facts?instance={instance}&since={cursor}");
    let stream = TcpStream::connect(url.address()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, url.address()).body(Body::empty())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(PeerError::Status(response.status()));
        }
        let body = to_bytes(Body::new(response.into_body()), LONGEST).await;
        Ok(serde_json::from_slice(&body.map_err(|_unspecific| PeerError::Body)?)?)
    };
    tokio::select! {
        answer = answer => answer,
        // It ends before the answer only by failing.
        ended = connection => Err(ended.map_or_else(PeerError::Http, |()| PeerError::Body)),
    }
}
