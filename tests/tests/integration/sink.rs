//! Stand-ins for a broker, for what no real one would do.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::port::Port;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::wire::{self, Body, Connection, Fields};

const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy between the test, which plays the client, and the test, which plays the broker.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) proxy: Proxy,
    listener: TcpListener,
    front: Port,
}

impl Bridge {
    /// Starts the proxy with more flags.
    pub(crate) fn start(flags: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let front = Port::claim()?;
        let spec = ProxySpec::new([(front.address(), listener.local_addr()?)]);
        Ok(Self { proxy: Proxy::start(&spec.flags(flags.iter().copied()))?, listener, front })
    }

    /// A connection through the proxy: the client's end and the broker's.
    pub(crate) fn connect(&self) -> Result<(Connection, Connection)> {
        let client = Connection::open(self.front.address())?;
        self.listener.set_nonblocking(true)?;
        let (stream, _) = eventually("the proxy to connect", PATIENCE, || Ok(self.listener.accept().ok()))?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok((client, Connection { stream }))
    }
}

/// A proxy before a broker that accepts everything.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) sink: Sink,
    pub(crate) front: Port,
    pub(crate) proxy: Proxy,
}

impl Stand {
    pub(crate) fn start() -> Result<Self> {
        let (sink, front) = (Sink::accepting()?, Port::claim()?);
        let proxy = Proxy::start(&ProxySpec::new([(front.address(), sink.address)]))?;
        Ok(Self { sink, front, proxy })
    }
}

/// Produces `batch` to `orders` so many times as `sender`, and waits for each answer.
pub(crate) fn exchange(connection: &mut Connection, requests: i32, batch: &[u8]) -> Result<()> {
    for number in 0..requests {
        connection.exchange(&wire::produce(number, Some("sender"), 1, "orders", batch))?;
    }
    Ok(())
}

/// Accepts connections and serves each on a thread of its own, until dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Sink {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, serve) = (stop.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let serve = serve.clone();
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { address, stop })
    }

    /// A broker that accepts every Produce request of [`kafkascope_tests::wire::produce`].
    pub(crate) fn accepting() -> Result<Self> {
        Self::start(|stream| {
            let mut connection = Connection { stream };
            // Ends with the connection, in whatever way that ends.
            while let Ok(Some(request)) = connection.receive() {
                match answer(&request) {
                    Ok(Some(answer)) if connection.send(&answer).is_ok() => {}
                    Ok(None) => {}
                    _ => break,
                }
            }
        })
    }

    /// Reads and forgets.
    pub(crate) fn swallowing() -> Result<Self> {
        Self::start(|mut stream| {
            let mut buffer = vec![0; 256 * 1024];
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        _ = TcpStream::connect(self.address);
    }
}

/// The answer to a Produce request v3 for one partition; none if acks is 0.
pub(crate) fn answer(request: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut fields = Fields(request);
    fields.take(4)?;
    let correlation_id = fields.i32()?;
    fields.string().context("client id")?;
    fields.string().context("transactional id")?;
    let acks = fields.i16()?;
    fields.take(8)?;
    let topic = fields.string()?;
    let answer = Body::default().i32(correlation_id).i32(1).string(Some(&topic)).i32(1);
    let answer = answer.i32(0).i16(0).i64(0).i64(-1).i32(0).frame();
    Ok((acks != 0).then_some(answer))
}
