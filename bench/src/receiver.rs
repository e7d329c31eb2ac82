//! Takes OTLP over HTTP and throws it away, so that exporting costs the proxy what it costs with a real collector.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};

/// A running receiver. It lives as long as the process.
#[derive(Debug)]
pub struct Receiver {
    pub address: SocketAddr,
    received: Arc<[AtomicU64; 2]>,
}

impl Receiver {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let received = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counts = Arc::clone(&received);
        thread::Builder::new().name("otlp".into()).spawn(move || {
            for socket in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                // A connection that ends in the middle of a request is the exporter's business, not the benchmark's.
                thread::spawn(move || serve(&socket, &counts).unwrap_or_default());
            }
        })?;
        Ok(Self { address, received })
    }

    /// Requests and body bytes so far.
    pub fn received(&self) -> (u64, u64) {
        let [requests, bytes] = &*self.received;
        (requests.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

fn serve(socket: &TcpStream, [requests, bytes]: &[AtomicU64; 2]) -> Result<()> {
    let mut reader = BufReader::new(socket);
    loop {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u64>()?);
            }
        }
        let length = length.context("a request without a length")?;
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        requests.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(length, Ordering::Relaxed);
        let mut socket = socket;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
    }
}
