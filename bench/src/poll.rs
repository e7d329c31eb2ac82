//! Edge-triggered readiness of many sockets.

use std::{os::fd::AsFd, time::Duration};

use anyhow::Result;
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
};

/// A socket on which something happened.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub token: u64,
    /// Its peer will send no more, so it has to be read until it says so.
    pub hung_up: bool,
}

/// An epoll instance.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// From now on `token` is reported when `socket` becomes readable or writable.
    pub fn add(&self, socket: impl AsFd, token: u64) -> Result<()> {
        let edges = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), edges)?)
    }

    /// Waits for at most `timeout` and fills `ready` with the sockets to look at.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> Result<()> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        self.events.clear();
        ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| Ready {
            token: { event.data }.u64(),
            hung_up: { event.flags }.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
        }));
        Ok(())
    }
}
