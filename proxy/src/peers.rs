//! Other proxies: asked once a second for what they have seen.
//!
//! They are not trusted further than that: an answer is bounded in size and time, and in what it may cost of a processor; what
//! cannot be true is left out and counted, and what a proxy told is forgotten when it has not answered for a while or has begun
//! anew. What is wrong with an answer is counted by its reason.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kafkascope_protocol::Timestamp;
use kafkascope_service::RateLimit;
use kafkascope_telemetry::Registry;
use kafkascope_telemetry::knowledge::{Page, Peer};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
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

/// After an answer the peer is left alone for so many times as long as it took to read and to learn: a peer that tells without
/// end has a fifth of a processor.
const REST: u32 = 4;

/// Longest instance id; ours are shorter. It goes into the next URL.
const INSTANCE: usize = 64;

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
    #[error("its answer is not that of a proxy: what it calls itself is no id")]
    Instance,
    #[error("its cursor goes back")]
    Cursor,
    #[error("it is this proxy itself")]
    Itself,
    #[error("its answer could not be read")]
    Unread(#[from] tokio::task::JoinError),
}

impl PeerError {
    /// What it is counted under. That a proxy names itself is no failure.
    const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Connect(_) => Some("connect"),
            Self::Http(_) | Self::Request(_) => Some("http"),
            Self::Timeout => Some("timeout"),
            Self::Status(_) => Some("status"),
            Self::Body => Some("body"),
            Self::Malformed(_) | Self::Instance | Self::Unread(_) => Some("malformed"),
            Self::Cursor => Some("cursor"),
            Self::Itself => None,
        }
    }
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
            at: None,
            heard: Instant::now(),
            failing: RateLimit::default(),
            beginning: RateLimit::default(),
        };
        tokio::spawn(follower.run());
    }
}

struct Follower {
    url: PeerUrl,
    peer: Peer,
    registry: Arc<Registry>,
    clock: Clock,
    /// Up to where a peer has told; `None`: nothing is known from it.
    at: Option<Place>,
    heard: Instant,
    failing: RateLimit,
    beginning: RateLimit,
}

/// Who answered last, and what to ask for next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    instance: String,
    cursor: u64,
}

/// What an answer says, besides facts.
#[derive(Debug)]
struct Answer {
    place: Place,
    more: bool,
    /// How long it took to read and to learn.
    took: Duration,
}

impl Follower {
    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for _ in 0..PAGES {
                let more = match self.hear().await {
                    Ok(answer) => {
                        sleep(answer.took * REST).await;
                        self.heard_of(answer)
                    }
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

    async fn hear(&mut self) -> Result<Answer, PeerError> {
        let body =
            timeout(TIMEOUT, ask(&self.url, self.at.as_ref())).await.map_err(|_elapsed| PeerError::Timeout)??;
        let (before, registry, peer) = (self.at.clone(), Arc::clone(&self.registry), self.peer);
        let now = Timestamp(self.clock.now().0);
        // A long one would hold up all else that this thread serves.
        spawn_blocking(move || learn(&body, before.as_ref(), &registry, peer, now)).await?
    }

    /// Whether there is more.
    fn heard_of(&mut self, answer: Answer) -> bool {
        self.heard = Instant::now();
        let before = self.at.replace(answer.place.clone());
        let has_begun = before.as_ref().is_none_or(|before| before.instance != answer.place.instance);
        if has_begun && before.is_some() {
            self.registry.knowledge().peer_failed("begun_anew");
        }
        if has_begun && let Some(suppressed) = self.beginning.pass() {
            info!(url = %self.url, instance = answer.place.instance, suppressed, "peer answers");
        }
        // One that is another each time is asked once a second.
        let goes_on = before.is_none_or(|before| before.instance == answer.place.instance && before != answer.place);
        answer.more && goes_on
    }

    fn failed(&mut self, error: &PeerError) {
        let knowledge = self.registry.knowledge();
        if let Some(reason) = error.reason() {
            knowledge.peer_failed(reason);
        }
        if let Some(suppressed) = self.failing.pass() {
            warn!(url = %self.url, %error, suppressed, "peer does not answer");
        }
        if self.at.is_some() && self.heard.elapsed() > AWAY {
            warn!(url = %self.url, "peer is away: what it told is forgotten");
            knowledge.forget_peer(self.peer);
            self.at = None;
        }
    }
}

/// Reads an answer, and learns what it tells.
fn learn(
    body: &[u8],
    before: Option<&Place>,
    registry: &Registry,
    peer: Peer,
    now: Timestamp,
) -> Result<Answer, PeerError> {
    let began = Instant::now();
    let page: Page = serde_json::from_slice(body)?;
    let knowledge = registry.knowledge();
    if page.instance == knowledge.instance() {
        return Err(PeerError::Itself);
    }
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if page.instance.is_empty() || page.instance.len() > INSTANCE || !page.instance.chars().all(is_id) {
        return Err(PeerError::Instance);
    }
    match before {
        Some(before) if before.instance != page.instance => knowledge.forget_peer(peer),
        Some(before) if before.cursor > page.cursor => return Err(PeerError::Cursor),
        _ => {}
    }
    knowledge.learn_peer(peer, &page.instance, page.facts, now);
    let place = Place { instance: page.instance, cursor: page.cursor };
    Ok(Answer { place, more: page.more, took: began.elapsed() })
}

/// The body of a peer's answer.
async fn ask(url: &PeerUrl, at: Option<&Place>) -> Result<Bytes, PeerError> {
    let (instance, cursor) = at.map_or(("", 0), |at| (&at.instance, at.cursor));
    let path = format!("/api/facts?instance={instance}&since={cursor}");
    let stream = TcpStream::connect(url.address()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, url.address()).body(Body::empty())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(PeerError::Status(response.status()));
        }
        to_bytes(Body::new(response.into_body()), LONGEST).await.map_err(|_unspecific| PeerError::Body)
    };
    let mut answer = pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // It has failed, and the answer says why; or what came with its end has yet to be taken.
        _ = connection => answer.await,
    }
}
