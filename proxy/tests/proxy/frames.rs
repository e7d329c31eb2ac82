//! A tap and messages for a minimal protocol: 4-byte length and body; every message up has an answer down.

use std::io::{ErrorKind, Read};

use kafkascope_proxy::forward::{Direction, Place, Tap, UnixNanos};

/// Knows its place.
#[derive(Default)]
pub(crate) struct Frames {
    flows: [Flow; 2],
}

#[derive(Default)]
struct Flow {
    length: Vec<u8>,
    rest: u64,
    messages: usize,
}

impl Flow {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, others)) = bytes.split_first() {
            if self.rest == 0 {
                self.length.push(*first);
                bytes = others;
                if let Ok(length) = <[u8; 4]>::try_from(&self.length[..]) {
                    self.length.clear();
                    self.rest = u32::from_be_bytes(length).into();
                }
            } else {
                let passed = self.rest.min(bytes.len() as u64);
                self.rest -= passed;
                bytes = &bytes[passed as usize..];
                if self.rest == 0 {
                    self.messages += 1;
                }
            }
        }
    }

    fn rest(&self) -> u64 {
        if self.length.is_empty() { self.rest } else { 4 - self.length.len() as u64 }
    }
}

impl Tap for Frames {
    fn on_bytes(&mut self, direction: Direction, _: UnixNanos, bytes: &[u8]) -> u64 {
        self.flows[direction as usize].pass(bytes);
        0
    }

    fn on_opaque(&mut self, _: Direction, _: UnixNanos, _: u64) -> u64 {
        unreachable!("none was announced")
    }

    fn on_written(&mut self, _: Direction, _: UnixNanos, _: u64) {}

    fn place(&self) -> Option<Place> {
        let [up, down] = &self.flows;
        Some(Place { up_rest: up.rest(), down_rest: down.rest(), awaited: up.messages - down.messages })
    }
}

pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// The next message; `None` at the end of the stream.
pub(crate) fn read(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        outcome => outcome.unwrap(),
    }
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    Some(body)
}
