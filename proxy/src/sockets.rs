//! The sockets of the connections of a worker, which are asked now and then what TCP says of them.
//!
//! No connection has a timer for it, which would wake a worker that has nothing to do: when the worker is asked for what it
//! counted, once a second, it looks at as many of its connections as are due.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::{Shard, Side, TcpFigures, TcpRecorder};
use tokio::net::TcpStream;

use crate::forward::tcp_info;

/// Each connection is looked at so often. A look is two system calls, a microsecond.
const EVERY: Duration = Duration::from_secs(10);

/// Connections that are looked at before the worker's other work gets its turn.
const AT_ONCE: usize = 128;

/// The two sockets of a connection.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) client: TcpStream,
    pub(crate) upstream: TcpStream,
    recorder: TcpRecorder,
}

impl Sockets {
    /// What TCP says of both.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (Side, TcpFigures)> {
        [(Side::Client, &self.client), (Side::Broker, &self.upstream)].into_iter().filter_map(|(side, socket)| {
            let info = tcp_info(socket)?;
            let figures = TcpFigures {
                rtt: u64::from(info.rtt_us) * 1_000,
                retransmits: info.total_retransmits,
                delivery_rate: info.delivery_rate,
                acknowledged: info.bytes_acknowledged,
            };
            Some((side, figures))
        })
    }

    fn look(&self, shard: &mut Shard) {
        self.figures().for_each(|(side, figures)| self.recorder.record(shard, side, figures));
    }
}

/// Looks at the sockets of all connections of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lookout(Rc<RefCell<Places>>);

#[derive(Debug, Default)]
struct Places {
    all: Vec<Option<Rc<Sockets>>>,
    free: Vec<usize>,
    /// Where looking goes on.
    next: usize,
    /// When it was last found out how many are due.
    counted: Timestamp,
    /// How many are due, and a part of the next.
    due: f64,
}

/// A connection whose sockets are looked at until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) sockets: Rc<Sockets>,
    place: usize,
    lookout: Lookout,
}

impl Lookout {
    /// From now on these two are looked at.
    pub(crate) fn watch(&self, client: TcpStream, upstream: TcpStream, recorder: TcpRecorder) -> Watched {
        let sockets = Rc::new(Sockets { client, upstream, recorder });
        let Places { all, free, .. } = &mut *self.0.borrow_mut();
        let place = free.pop().unwrap_or(all.len());
        match all.get_mut(place) {
            Some(empty) => *empty = Some(sockets.clone()),
            None => all.push(Some(sockets.clone())),
        }
        Watched { sockets, place, lookout: self.clone() }
    }

    /// As many places are due as make all of them in [`EVERY`].
    pub(crate) fn begin(&self, now: Timestamp) {
        let places = &mut *self.0.borrow_mut();
        let (all, passed) = (places.all.len() as f64, now.since(places.counted) as f64);
        places.due = (places.due + all * passed / EVERY.as_nanos() as f64).min(all);
        places.counted = now;
    }

    /// Looks at some. Whether nothing is due any more.
    pub(crate) fn look_at_some(&self, shard: &mut Shard) -> bool {
        let places = &mut *self.0.borrow_mut();
        for _ in 0..AT_ONCE {
            if places.due < 1.0 {
                break;
            }
            places.due -= 1.0;
            if places.next >= places.all.len() {
                places.next = 0;
            }
            if let Some(Some(sockets)) = places.all.get(places.next) {
                sockets.look(shard);
            }
            places.next += 1;
        }
        places.due < 1.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Places { all, free, .. } = &mut *self.lookout.0.borrow_mut();
        if let Some(place) = all.get_mut(self.place) {
            *place = None;
            free.push(self.place);
        }
        if free.len() == all.len() {
            // What a crowd needed is given back when all are gone.
            (*all, *free) = (Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kafkascope_telemetry::{Broker, ConnectionInfo, Dictionary, Recorder, Settings};
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Segments are counted by the kernel as soon as they are sent, so looks are counted by what was acknowledged in between.
    #[tokio::test(flavor = "current_thread")]
    async fn each_connection_is_looked_at_once_in_ten_seconds_however_often_the_worker_is_asked() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut shard = Shard::new(Dictionary::new(Settings::default()), Timestamp(0));
        let lookout = Lookout::default();
        lookout.begin(Timestamp(0));
        let mut watched = Vec::new();
        for _ in 0..20 {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, peer) = listener.accept().await.unwrap();
            let broker = Broker::new("b", 1, None, None);
            let info = ConnectionInfo { broker, peer: peer.ip(), depth: None, opened: Timestamp(0) };
            let mut recorder = Recorder::open(&mut shard, info);
            let tcp = recorder.connected(&shard, || None);
            watched.push((lookout.watch(accepted, client, tcp), recorder));
        }
        let looks = |seconds: u64, times: u64| {
            let start = lookout.0.borrow().counted.0;
            let mut looks = 0.0;
            for time in 1..=times {
                lookout.begin(Timestamp(start + seconds * SECOND * time / times));
                looks += lookout.0.borrow().due.floor();
                let mut shard = Shard::new(Dictionary::new(Settings::default()), Timestamp(0));
                while !lookout.look_at_some(&mut shard) {}
            }
            looks
        };
        assert_eq!(looks(10, 10), 20.0);
        assert_eq!(looks(10, 1_000), 20.0);
        assert_eq!(looks(60, 1), 20.0, "after a pause none is looked at twice");
        watched.truncate(1);
        assert_eq!(looks(10, 10), 20.0, "places that are free count as well");
        watched.clear();
        assert_eq!(looks(10, 10), 0.0);
        assert_eq!(lookout.0.borrow().all.capacity(), 0, "memory is given back");
    }
}
