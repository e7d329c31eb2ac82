//! One GET, for the proxy's admin server.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// The body of `path`.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0: the body ends with the connection and is never chunked.
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).with_context(|| format!("reading {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{path} answered {}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}
