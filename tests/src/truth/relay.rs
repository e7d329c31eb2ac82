//! A slow network: a TCP relay that delivers what comes back from its target late.
//!
//! Placed before or behind the proxy it makes a reality in which the two ends of a connection see other times than the
//! proxy does.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Relays connections made to `listen` to `target` until the process ends. Bytes from the target are `delay` late.
pub(crate) fn start(listen: SocketAddr, target: SocketAddr, delay: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A target that refuses closes the client, as it would without us.
            let Ok(upstream) = TcpStream::connect(target) else { continue };
            let ends = [&client, &upstream].map(|end| end.set_nodelay(true).and_then(|()| end.try_clone()));
            let [Ok(client_too), Ok(upstream_too)] = ends else { continue };
            thread::spawn(move || at_once(client, upstream));
            thread::spawn(move || late(upstream_too, client_too, delay));
        }
    });
    Ok(address)
}

fn at_once(mut from: TcpStream, mut to: TcpStream) {
    let _either_end_closed = std::io::copy(&mut from, &mut to);
    let _closed_already = to.shutdown(Shutdown::Write);
}

fn late(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, chunks) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, chunk) in chunks {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&chunk).is_err() {
                break;
            }
        }
        let _closed_already = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let Some(chunk) = buffer.get(..count) else { return };
        if sender.send((Instant::now() + delay, chunk.to_vec())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_late_and_whole_and_the_end_is_passed_on() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = echo.local_addr().unwrap();
        thread::spawn(move || {
            let (mut peer, _) = echo.accept().unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(&all).unwrap();
        });
        let delay = Duration::from_millis(30);
        let mut client = TcpStream::connect(start("127.0.0.1:0".parse().unwrap(), target, delay).unwrap()).unwrap();
        let begun = Instant::now();
        client.write_all(b"there and back").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"there and back");
        assert!(begun.elapsed() >= delay);
    }
}
