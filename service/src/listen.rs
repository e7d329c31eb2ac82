//! Binding an address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::settings::ListenAddress;

/// Connections that the kernel completes and keeps until they are accepted; it may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Binds `address`: the first of its addresses that can be bound.
///
/// # Errors
/// None of its addresses can be bound.
pub fn listener(address: &ListenAddress) -> io::Result<TcpListener> {
    let mut failure = io::ErrorKind::NotFound.into();
    for candidate in address.resolve()? {
        match bound(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

fn bound(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // A restart may bind while connections of its predecessor are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
