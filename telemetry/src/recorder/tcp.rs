//! What TCP says of the two connections that make one through the proxy.
//!
//! Whoever has the sockets asks the kernel now and then, not the connection's own task, which may sleep for hours: so this
//! part of a recorder is shared with it. Totals are recorded as differences from the last time, so that they are right when
//! the connection has ended. Of a socket on which nothing was acknowledged since, neither time nor rate is recorded: they
//! would be what they were.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::dictionary::{Broker, Client};
use crate::labels::Labels;
use crate::shard::{Shard, Slot};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Between the client and the proxy.
    Client,
    /// Between the proxy and the broker.
    Broker,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Broker];

    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Broker => "broker",
        }
    }
}

/// What TCP says of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFigures {
    /// Smoothed round-trip time in nanoseconds; 0 before anything was measured.
    pub rtt: u64,
    /// Segments sent again since the socket was opened. Wraps around.
    pub retransmits: u32,
    /// Bytes a second that were last delivered; 0 before anything was.
    pub delivery_rate: u64,
    /// Bytes that the peer has acknowledged since the socket was opened.
    pub acknowledged: u64,
}

/// The part of a connection's recorder that whoever looks at its sockets has.
#[derive(Debug, Clone)]
pub struct TcpRecorder(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    client: Option<Arc<Client>>,
    broker: Arc<Broker>,
    /// The shard's epoch for which the places are good.
    epoch: u32,
    slots: [Slot; 2],
    /// Retransmits and acknowledged bytes of each side, as far as they are recorded.
    recorded: [Totals; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    retransmits: u32,
    acknowledged: u64,
}

impl TcpRecorder {
    pub(super) fn new(broker: Arc<Broker>, client: Option<Arc<Client>>) -> Self {
        let (slots, recorded) = ([Slot::NONE; 2], [Totals::default(); 2]);
        Self(Rc::new(RefCell::new(State { client, broker, epoch: 0, slots, recorded })))
    }

    pub(super) fn is_of(&self, client: &Arc<Client>) {
        let state = &mut *self.0.borrow_mut();
        state.client = Some(client.clone());
        state.slots = [Slot::NONE; 2];
    }

    /// Records what TCP says of the socket of one side. Nothing is lost while it is not known who the client is, or
    /// where it is counted: it comes with the next time.
    pub fn record(&self, shard: &mut Shard, side: Side, figures: TcpFigures) {
        let State { client, broker, epoch, slots, recorded } = &mut *self.0.borrow_mut();
        let Some(client) = client else { return };
        // The connection finds out when it wakes up; until then nothing begins anew under that name.
        if !client.place().is_kept() {
            return;
        }
        if *epoch != shard.epoch {
            (*epoch, *slots) = (shard.epoch, [Slot::NONE; 2]);
        }
        let [client_slot, broker_slot] = slots;
        let [of_client, of_broker] = recorded;
        let (slot, last) = match side {
            Side::Client => (client_slot, of_client),
            Side::Broker => (broker_slot, of_broker),
        };
        if slot.is_none() {
            let (client, broker) = (Some(client.clone()), Some(broker.clone()));
            *slot = shard.legs.slot(Labels { client, broker, side: Some(side), ..Labels::default() }, shard.now());
        }
        let row = shard.legs.row(*slot);
        row.retransmits += u64::from(figures.retransmits.wrapping_sub(last.retransmits));
        if figures.acknowledged != last.acknowledged {
            if figures.rtt > 0 {
                row.rtt.record_nanos(figures.rtt);
            }
            if figures.delivery_rate > 0 {
                row.delivery_rate.record(figures.delivery_rate);
            }
        }
        *last = Totals { retransmits: figures.retransmits, acknowledged: figures.acknowledged };
    }
}
