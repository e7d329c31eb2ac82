//! The tap of a connection: feeds what passes to the decoder, and what the decoder sees to the worker's shard.
//!
//! It cannot fail the traffic. Should the decoder panic, that connection is only counted from then on.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use kafkascope_protocol::{
    BatchHead, BatchPlan, Connection, Depth, Direction as WireDirection, Limits, LostSync, LostSyncReason, Observation,
    Sink, Timestamp,
};
use kafkascope_telemetry::{CloseReason, ConnectionInfo, Legs, Recorder};
use tokio::net::TcpStream;
use tracing::{error, warn};

use crate::config::Observe;
use crate::forward::{Direction, Ending, Peer, Place, Tap, UnixNanos};
use crate::lane::Lane;
use crate::sockets::{Sockets, Watched};
use crate::worker::Worker;

/// One in so many calls is timed, for the figure of what observing costs. Odd, because reads and writes take turns.
const TIMED: u32 = 17;

/// Observes one connection from its acceptance to its end.
pub(crate) struct Observer {
    worker: Rc<Worker>,
    lane: Arc<Lane>,
    peer: IpAddr,
    /// `None` when it has been closed.
    recorder: Option<Recorder>,
    /// `None`: bytes are only counted.
    decoder: Option<Box<Connection>>,
    /// `None` before there is a connection to the broker.
    watched: Option<Watched>,
    calls: u32,
}

impl Observer {
    /// A client has connected.
    pub(crate) fn open(worker: &Rc<Worker>, lane: &Arc<Lane>, peer: IpAddr) -> Self {
        let depth = match lane.route.observe {
            Observe::None => None,
            Observe::Headers => Some(Depth::Headers),
            Observe::Full => Some(Depth::Full),
        };
        let info = ConnectionInfo { broker: lane.broker.clone(), peer, depth, opened: worker.now() };
        let recorder = Recorder::open(&mut worker.shard.borrow_mut(), info);
        let decoder = depth.map(|depth| Box::new(Connection::new(Limits::default(), depth, worker.captures.clone())));
        let (worker, lane, recorder) = (worker.clone(), lane.clone(), Some(recorder));
        Self { worker, lane, peer, recorder, decoder, watched: None, calls: 0 }
    }

    /// There is a connection to the broker, too. `None`: this one has been closed.
    pub(crate) fn connected(&mut self, client: TcpStream, upstream: TcpStream) -> Option<Rc<Sockets>> {
        let recorder = self.recorder.as_mut()?;
        let peer = self.peer;
        let legs = || {
            let client = [SocketAddr::new(peer, client.peer_addr().ok()?.port()), client.local_addr().ok()?];
            Some(Legs { client, broker: [upstream.local_addr().ok()?, upstream.peer_addr().ok()?] })
        };
        let tcp = recorder.connected(&self.worker.shard.borrow(), legs);
        let watched = self.watched.insert(self.worker.lookout.watch(client, upstream, tcp));
        Some(watched.sockets.clone())
    }

    /// Forwarding has ended.
    pub(crate) fn ended(mut self, ending: Ending) {
        if let Ending::Drained { discarded } = ending
            && let Some(recorder) = &mut self.recorder
        {
            recorder.discarded(&mut self.worker.shard.borrow_mut(), discarded);
        }
        self.close(match ending {
            Ending::Finished { first: Peer::Client } => CloseReason::Client,
            Ending::Finished { first: Peer::Upstream } => CloseReason::Broker,
            Ending::Reset(Peer::Client) => CloseReason::ClientReset,
            Ending::Reset(Peer::Upstream) => CloseReason::BrokerReset,
            Ending::Drained { .. } => CloseReason::Drain,
        });
    }

    /// The connection ended for `reason`.
    pub(crate) fn close(mut self, reason: CloseReason) {
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        let Some(mut recorder) = self.recorder.take() else { return };
        // While a panic unwinds through the shard it must not be touched again.
        let Ok(mut shard) = self.worker.shard.try_borrow_mut() else { return };
        if let Some(mut decoder) = self.decoder.take() {
            let now = wire_time(self.worker.resources.clock().now());
            let closing = AssertUnwindSafe(|| decoder.on_close(now, &mut recorder.sink(&mut shard)));
            if catch_unwind(closing).is_err() {
                error!(peer = %self.peer, "decoding panicked at the end of a connection");
            }
        }
        let watched = self.watched.take();
        let figures = watched.iter().flat_map(|watched| watched.sockets.figures());
        recorder.closing(&mut shard, self.worker.now(), figures);
        recorder.close(&mut shard, reason);
    }

    /// Shows something to the decoder, if there is one. `None`: there is none (any more).
    #[inline]
    fn decode<R>(
        &mut self,
        direction: Direction,
        read: u64,
        show: impl FnOnce(&mut Connection, WireDirection, &mut Watch<'_, '_>) -> R,
    ) -> Option<R> {
        let direction = wire_direction(direction);
        let recorder = self.recorder.as_mut()?;
        let shard = &mut *self.worker.shard.borrow_mut();
        if read > 0 {
            recorder.bytes(shard, direction, read);
        }
        let decoder = self.decoder.as_deref_mut()?;
        let mut lost = None;
        let mut watch = Watch { sink: recorder.sink(shard), lost: &mut lost };
        let shown = catch_unwind(AssertUnwindSafe(|| show(decoder, direction, &mut watch)));
        if shown.is_err() {
            recorder.decoder_panicked(shard, direction);
        }
        if let Some(lost) = lost {
            self.tell(lost);
        }
        if shown.is_err() {
            self.decoder = None;
            let (peer, upstream) = (self.peer, &self.lane.route.upstream);
            error!(%peer, %upstream, "decoding panicked: this connection is forwarded unobserved");
        }
        shown.ok()
    }

    /// Every seventeenth call is timed and stands for seventeen.
    #[inline]
    fn timed<R>(&mut self, now: UnixNanos, call: impl FnOnce(&mut Self) -> R) -> R {
        self.calls = self.calls.wrapping_add(1);
        let result = call(self);
        if self.calls.is_multiple_of(TIMED) {
            let spent = self.worker.resources.clock().now().0.saturating_sub(now.0);
            self.worker.shard.borrow_mut().tap_time(spent.saturating_mul(TIMED.into()));
        }
        result
    }

    #[cold]
    fn tell(&self, lost: LostSync) {
        let (peer, listen, upstream) = (self.peer, &self.lane.route.listen, &self.lane.route.upstream);
        let what = match lost.reason {
            LostSyncReason::Tls => "client speaks TLS to a plaintext route: forwarded unobserved",
            LostSyncReason::TlsAlert => "upstream speaks TLS and the client does not: forwarded unobserved",
            LostSyncReason::Http => "client speaks HTTP: forwarded unobserved",
            LostSyncReason::OtherDirection => return,
            _ => "bytes that are not Kafka's: forwarded unobserved",
        };
        if let Some(suppressed) = self.worker.lost_sync.pass() {
            warn!(%peer, %listen, %upstream, reason = ?lost.reason, suppressed, "{what}");
        }
    }
}

impl Tap for Observer {
    #[inline]
    fn on_bytes(&mut self, direction: Direction, now: UnixNanos, bytes: &[u8]) -> u64 {
        self.timed(now, |tap| {
            let read = bytes.len() as u64;
            let shown = tap.decode(direction, read, |decoder, direction, sink| {
                decoder.on_bytes(direction, wire_time(now), bytes, sink)
            });
            shown.unwrap_or(u64::MAX)
        })
    }

    #[inline]
    fn on_opaque(&mut self, direction: Direction, now: UnixNanos, count: u64) -> u64 {
        let shown = self.decode(direction, count, |decoder, direction, sink| {
            decoder.on_opaque(direction, wire_time(now), count, sink)
        });
        shown.unwrap_or(u64::MAX)
    }

    #[inline]
    fn on_written(&mut self, direction: Direction, now: UnixNanos, count: u64) {
        self.timed(now, |tap| {
            tap.decode(direction, 0, |decoder, direction, sink| {
                decoder.on_written(direction, wire_time(now), count, sink);
            })
        });
    }

    fn place(&self) -> Option<Place> {
        let decoder = self.decoder.as_deref()?;
        Some(Place {
            up_rest: decoder.rest_of_frame(WireDirection::Request)?,
            down_rest: decoder.rest_of_frame(WireDirection::Response)?,
            awaited: decoder.awaited(),
        })
    }
}

/// A connection that is cut, because a drain ran out of time, ends without being told.
impl Drop for Observer {
    fn drop(&mut self) {
        self.end(CloseReason::DrainTimeout);
    }
}

/// The recorder's sink, with an eye on what the operator should be told at once.
struct Watch<'s, 'l> {
    sink: kafkascope_telemetry::RecorderSink<'s>,
    lost: &'l mut Option<LostSync>,
}

impl Sink for Watch<'_, '_> {
    // Always: where the decoder makes an observation it is known which one it is, and the rest of this falls away.
    #[inline(always)]
    fn observe(&mut self, observation: Observation<'_>) {
        if let Observation::LostSync(lost) = &observation {
            // Both directions are lost at once; the first one says why.
            self.lost.get_or_insert(*lost);
        }
        self.sink.observe(observation);
    }

    #[inline]
    fn at_batch(&mut self, direction: WireDirection, head: &BatchHead) -> BatchPlan {
        self.sink.at_batch(direction, head)
    }
}

fn wire_direction(direction: Direction) -> WireDirection {
    match direction {
        Direction::Up => WireDirection::Request,
        Direction::Down => WireDirection::Response,
    }
}

fn wire_time(now: UnixNanos) -> Timestamp {
    Timestamp(now.0)
}
