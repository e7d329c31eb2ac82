//! Ports that nobody else takes while a test needs them.
//!
//! A port found by binding to 0 may be given to any outgoing connection the moment it is let go. These come from below
//! the kernel's ephemeral range and are held by a lock on a file, so that test runs side by side respect each other.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A port of 127.0.0.1, ours until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free one.
    pub fn claim() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // One for each user: what root has made here, nobody else may lock. Between users the try to bind must do.
        let folder = env::temp_dir().join(format!("kafkascope-ports-{}", geteuid().as_raw()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Each process starts somewhere else, so that they seldom meet.
        let start = (std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (start.wrapping_add(step)) % COUNT;
            let lock = File::create(folder.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no free port from {FIRST} to {}", FIRST + COUNT - 1)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
