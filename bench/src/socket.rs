//! Frames over a non-blocking socket, as cheaply as it can be done: what is sent is never copied in user space, and
//! the inside of large frames is thrown away by the kernel (`MSG_TRUNC`) instead of being read.

use std::{collections::VecDeque, io::IoSlice, net::TcpStream, sync::Arc};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

/// Most frames in one write.
const FRAMES_PER_WRITE: usize = 64;
/// Less than this is read together with what follows; more is thrown away unread.
const DISCARD_FROM: usize = 16 << 10;
/// How much is thrown away by one call.
const DISCARD_AT_ONCE: usize = 1 << 20;
/// How much is read by one call.
const READ_AT_ONCE: usize = 64 << 10;
/// How much is read where the head of a large frame is expected.
const READ_BEFORE_LARGE: usize = 512;

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Outgoing>,
    /// Bytes of the first frame that were sent already.
    sent: usize,
}

#[derive(Debug)]
struct Outgoing {
    head: [u8; 12],
    head_bytes: usize,
    frame: Arc<[u8]>,
}

impl Outbox {
    /// Appends `frame` with `correlation_id` written to where its head of `head_bytes` ends.
    pub fn push(&mut self, frame: &Arc<[u8]>, head_bytes: usize, correlation_id: i32) {
        let mut head = [0; 12];
        head[..head_bytes].copy_from_slice(&frame[..head_bytes]);
        head[head_bytes - 4..head_bytes].copy_from_slice(&correlation_id.to_be_bytes());
        self.frames.push_back(Outgoing { head, head_bytes, frame: Arc::clone(frame) });
    }

    /// Writes until nothing is left or the socket takes no more.
    pub fn flush(&mut self, socket: &TcpStream) -> Result<()> {
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2 * FRAMES_PER_WRITE];
            let mut used = 0;
            let mut skip = self.sent;
            for frame in self.frames.iter().take(FRAMES_PER_WRITE) {
                for part in [&frame.head[..frame.head_bytes], &frame.frame[frame.head_bytes..]] {
                    if skip < part.len() {
                        slices[used] = IoSlice::new(&part[skip..]);
                        used += 1;
                    }
                    skip = skip.saturating_sub(part.len());
                }
            }
            match rustix::io::writev(socket, &slices[..used]) {
                Ok(written) => self.sent += written,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("sending to a peer of the benchmark"),
            }
            while let Some(frame) = self.frames.front()
                && self.sent >= frame.frame.len()
            {
                self.sent -= frame.frame.len();
                self.frames.pop_front();
            }
        }
        Ok(())
    }
}

/// Finds the frames in what is received.
#[derive(Debug)]
pub struct Inbox<const HEAD: usize> {
    head: [u8; HEAD],
    head_bytes: usize,
    /// Bytes of the current frame behind its head that are still to come.
    left: usize,
    /// The last frame was large, so the next one probably is.
    large: bool,
}

/// What reading ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nothing more at the moment.
    Drained,
    /// The peer has closed.
    Closed,
}

impl<const HEAD: usize> Default for Inbox<HEAD> {
    fn default() -> Self {
        Self { head: [0; HEAD], head_bytes: 0, left: 0, large: false }
    }
}

impl<const HEAD: usize> Inbox<HEAD> {
    /// Reads all that is there; `on_frame` gets the head of each frame that ended, and its size with the length field.
    /// A short read is the end of what is there, unless the peer has `hung_up`.
    pub fn drain(
        &mut self,
        socket: &TcpStream,
        hung_up: bool,
        buffer: &mut ReadBuffer,
        mut on_frame: impl FnMut(&[u8; HEAD], usize) -> Result<()>,
    ) -> Result<Read> {
        loop {
            let discard = self.left >= DISCARD_FROM;
            let (flags, ask) = match () {
                () if discard => (RecvFlags::TRUNC, self.left.min(DISCARD_AT_ONCE)),
                // The rest of a large frame, or the head of the next one.
                () if self.large => (RecvFlags::empty(), self.left.max(READ_BEFORE_LARGE)),
                () => (RecvFlags::empty(), READ_AT_ONCE),
            };
            let got = match recv(socket, &mut buffer.0[..ask], flags) {
                Ok((_, 0)) => return Ok(Read::Closed),
                Ok((_, got)) => got,
                Err(Errno::AGAIN) => return Ok(Read::Drained),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).context("receiving from a peer of the benchmark"),
            };
            if discard {
                self.left -= got;
                if self.left == 0 {
                    self.end(&mut on_frame)?;
                }
            } else {
                self.walk(&buffer.0[..got], &mut on_frame)?;
            }
            if got < ask && !hung_up {
                return Ok(Read::Drained);
            }
        }
    }

    fn walk(&mut self, mut bytes: &[u8], on_frame: &mut impl FnMut(&[u8; HEAD], usize) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            if self.head_bytes < HEAD {
                let take = bytes.len().min(HEAD - self.head_bytes);
                self.head[self.head_bytes..self.head_bytes + take].copy_from_slice(&bytes[..take]);
                self.head_bytes += take;
                bytes = &bytes[take..];
                if self.head_bytes < HEAD {
                    return Ok(());
                }
                self.left = match self.frame_bytes().checked_sub(HEAD) {
                    Some(left) => left,
                    None => bail!("a frame of {} bytes arrived that nobody sent", self.frame_bytes()),
                };
                self.large = self.left >= DISCARD_FROM;
            }
            let take = bytes.len().min(self.left);
            self.left -= take;
            bytes = &bytes[take..];
            if self.left == 0 {
                self.end(on_frame)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, on_frame: &mut impl FnMut(&[u8; HEAD], usize) -> Result<()>) -> Result<()> {
        self.head_bytes = 0;
        on_frame(&self.head, self.frame_bytes())
    }

    fn frame_bytes(&self) -> usize {
        let [a, b, c, d, ..] = self.head[..] else { return 0 };
        u32::from_be_bytes([a, b, c, d]) as usize + 4
    }
}

/// What is read into; one for all sockets of a thread.
#[derive(Debug)]
pub struct ReadBuffer(Vec<u8>);

impl Default for ReadBuffer {
    fn default() -> Self {
        Self(vec![0; DISCARD_AT_ONCE])
    }
}
