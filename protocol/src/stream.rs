//! One direction of a connection: where frames begin and end, what is to be skipped, and the few bytes of an element that was
//! cut by the end of a read.

use alloc::vec::Vec;
use core::{fmt, mem};

use crate::{
    Timestamp, UndecodedReason,
    reader::{Halt, Read, Reader},
};

/// A carry buffer that has grown beyond this is given back after use, in bytes.
const KEPT: usize = 512;

/// What comes next in a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A frame's length.
    Length,
    /// A frame's header, or a token of the raw SASL exchange.
    Head,
    /// A frame's body.
    Body,
    /// The end of a frame, once what is to be skipped has passed.
    End,
    /// Nothing: bytes are only counted.
    Lost,
}

/// What became of an attempt to read elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All elements were read.
    Done,
    /// More bytes have to come first.
    Starved,
    /// The rest of the frame cannot be read.
    Failed(UndecodedReason),
}

/// What a gap did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Nothing that anybody would have looked at is missing.
    Harmless,
    /// Something of this frame is missing; its end is known.
    Frame,
    /// The end of the frame is not known, or was not seen.
    Lost,
}

/// Bytes kept from one read to the next. They may be a SASL token, so they are never printed.
#[derive(Default)]
struct Carry(Vec<u8>);

impl fmt::Debug for Carry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) phase: Phase,
    /// Bytes that come before anything is looked at, all within the frame.
    skip: u64,
    /// Bytes of the frame that are still to come, those in `carry` included.
    frame_left: u64,
    carry: Carry,
    /// What `carry` must hold before the element is tried again.
    need: usize,
    /// Bytes that were read from this direction.
    seen: u64,
    /// Bytes that were written on.
    written: u64,
    /// Where the frame began.
    frame_start: u64,
    /// Whether a frame has begun before.
    begun: bool,
    /// Frame size with its length field.
    pub(crate) frame_bytes: u64,
    /// When the frame's first byte was read.
    pub(crate) first_byte: Timestamp,
}

impl Stream {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Length,
            skip: 0,
            frame_left: 0,
            carry: Carry(Vec::new()),
            need: 0,
            seen: 0,
            written: 0,
            frame_start: 0,
            begun: false,
            frame_bytes: 0,
            first_byte: Timestamp(0),
        }
    }

    /// Bytes that nobody needs to see.
    #[inline]
    pub(crate) const fn opaque(&self) -> u64 {
        match self.phase {
            Phase::Lost => u64::MAX,
            _ => self.skip,
        }
    }

    /// Where the frame ends, in bytes of this direction.
    #[inline]
    pub(crate) const fn frame_end(&self) -> u64 {
        self.frame_start.saturating_add(self.frame_bytes)
    }

    /// Bytes of the frame that are still to come.
    #[inline]
    pub(crate) const fn frame_left(&self) -> u64 {
        self.frame_left
    }

    #[inline]
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Counts bytes that were written on and returns their sum.
    #[inline]
    pub(crate) const fn wrote(&mut self, count: u64) -> u64 {
        self.written = self.written.saturating_add(count);
        self.written
    }

    /// Counts bytes that were read.
    #[inline]
    pub(crate) const fn saw(&mut self, count: u64) {
        self.seen = self.seen.saturating_add(count);
    }

    /// Passes what is to be skipped. Whether more of it has to come.
    #[inline]
    pub(crate) fn pass(&mut self, input: &mut &[u8]) -> bool {
        if self.skip == 0 {
            return false;
        }
        let count = self.skip.min(input.len() as u64);
        // Not longer than the input, so it fits.
        *input = input.get(count as usize..).unwrap_or_default();
        self.pass_unseen(count);
        self.skip > 0
    }

    /// The same for bytes that are not shown. Returns how many of them were not to be skipped.
    #[inline]
    pub(crate) fn pass_unseen(&mut self, count: u64) -> u64 {
        let passed = self.skip.min(count);
        self.skip = self.skip.saturating_sub(passed);
        self.frame_left = self.frame_left.saturating_sub(passed);
        count.saturating_sub(passed)
    }

    /// Reads a frame's length. `total` is the length of the read that `input` is the rest of.
    #[inline]
    pub(crate) fn length(&mut self, input: &mut &[u8], total: usize, now: Timestamp) -> Option<[u8; 4]> {
        if self.carry.0.is_empty() {
            if input.is_empty() {
                return None;
            }
            self.first_byte = now;
            self.frame_start = self.seen.saturating_add(total.saturating_sub(input.len()) as u64);
            if let Some((length, rest)) = input.split_first_chunk::<4>() {
                *input = rest;
                return Some(*length);
            }
            self.need = 4;
        }
        if !self.refill(input) {
            return None;
        }
        let length = self.carry.0.first_chunk::<4>().copied();
        self.carry.0.clear();
        length
    }

    /// Whether no frame has begun yet.
    #[inline]
    pub(crate) const fn is_first(&self) -> bool {
        !self.begun
    }

    /// A frame of `length` bytes begins.
    #[inline]
    pub(crate) const fn begin(&mut self, length: u32) {
        self.frame_left = length as u64;
        self.frame_bytes = (length as u64).saturating_add(4);
        self.phase = Phase::Head;
        self.begun = true;
    }

    /// The body has been read to its end, but for what is to be skipped. Whether the frame has more, which is skipped too.
    #[inline]
    pub(crate) const fn end_body(&mut self) -> bool {
        let more = self.frame_left > self.skip;
        self.skip_rest();
        more
    }

    /// What is left of the frame is not looked at.
    #[inline]
    pub(crate) const fn skip_rest(&mut self) {
        self.skip = self.frame_left;
        self.phase = Phase::End;
    }

    /// From here on bytes are only counted.
    pub(crate) fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.skip = 0;
        self.frame_left = 0;
        self.carry = Carry::default();
    }

    /// Fills the carry buffer up to what is needed. Whether it is full.
    fn refill(&mut self, input: &mut &[u8]) -> bool {
        let wanted = self.need.saturating_sub(self.carry.0.len()).min(input.len());
        if let Some((taken, rest)) = input.split_at_checked(wanted) {
            self.carry.0.extend_from_slice(taken);
            *input = rest;
        }
        self.carry.0.len() >= self.need
    }

    /// Reads as many elements as are at hand, each of at most `limit` bytes plus its fixed fields.
    #[inline]
    pub(crate) fn elements(
        &mut self,
        input: &mut &[u8],
        limit: usize,
        mut read: impl FnMut(&mut Reader<'_>) -> Read<()>,
    ) -> Step {
        loop {
            if !self.carry.0.is_empty() {
                if !self.refill(input) {
                    return Step::Starved;
                }
                match self.carried(limit, &mut read) {
                    Some(step) => return step,
                    None if self.skip > 0 => return Step::Starved,
                    None => continue,
                }
            }
            let at_hand = self.frame_left.min(input.len() as u64);
            // Not longer than the input, so it fits.
            let bytes = input.get(..at_hand as usize).unwrap_or_default();
            let mut reader = Reader::new(bytes, self.frame_left.saturating_sub(at_hand), limit);
            let outcome = read(&mut reader);
            let done = bytes.len().saturating_sub(reader.uncommitted());
            *input = input.get(done..).unwrap_or_default();
            self.frame_left = self.frame_left.saturating_sub(done as u64);
            self.skip = reader.debt();
            match outcome {
                Ok(()) => return Step::Done,
                Err(Halt::Short(_)) if self.skip > 0 => return Step::Starved,
                Err(Halt::Short(missing)) => {
                    self.need = reader.uncommitted().saturating_add(missing);
                    self.refill(input);
                    return Step::Starved;
                }
                Err(halt) => return self.fail(halt),
            }
        }
    }

    /// The same for the one element that was cut. `None`: it was read, and the next one comes from the input.
    #[cold]
    fn carried(&mut self, limit: usize, read: &mut impl FnMut(&mut Reader<'_>) -> Read<()>) -> Option<Step> {
        let mut carry = mem::take(&mut self.carry.0);
        let beyond = self.frame_left.saturating_sub(carry.len() as u64);
        let mut reader = Reader::new(&carry, beyond, limit);
        let outcome = read(&mut reader);
        let (uncommitted, debt) = (reader.uncommitted(), reader.debt());
        let done = carry.len().saturating_sub(uncommitted);
        self.frame_left = self.frame_left.saturating_sub(done as u64);
        self.skip = debt;
        let step = match outcome {
            Ok(()) if uncommitted == 0 => Some(Step::Done),
            Ok(()) => {
                // It only looked, and will be asked again.
                self.need = carry.len();
                self.carry.0 = carry;
                return Some(Step::Done);
            }
            Err(Halt::Short(_)) if uncommitted == 0 => None,
            Err(Halt::Short(missing)) => {
                carry.drain(..done);
                self.need = uncommitted.saturating_add(missing);
                self.carry.0 = carry;
                return None;
            }
            Err(halt) => {
                // The bytes in the buffer have already been taken from the input.
                self.frame_left = self.frame_left.saturating_sub(uncommitted as u64);
                Some(self.fail(halt))
            }
        };
        self.release(carry);
        step
    }

    #[cold]
    fn fail(&mut self, halt: Halt) -> Step {
        self.skip_rest();
        match halt {
            Halt::Enough => Step::Done,
            Halt::TooLarge => Step::Failed(UndecodedReason::TooLarge),
            Halt::Malformed | Halt::Short(_) => Step::Failed(UndecodedReason::Malformed),
        }
    }

    /// Keeps the buffer if it is small. It may have held a secret, which is wiped.
    fn release(&mut self, mut carry: Vec<u8>) {
        carry.fill(0);
        carry.clear();
        if carry.capacity() <= KEPT {
            self.carry.0 = carry;
        }
    }

    /// `count` bytes passed that could not be looked at.
    pub(crate) fn gap(&mut self, count: u64) -> Gap {
        let kept = self.carry.0.len() as u64;
        let hidden = match self.phase {
            _ if count == 0 => return Gap::Harmless,
            Phase::Lost => return Gap::Harmless,
            Phase::Length => return Gap::Lost,
            Phase::Head | Phase::Body | Phase::End => self.pass_unseen(count),
        };
        if hidden == 0 {
            return Gap::Harmless;
        }
        let Some(left) = self.frame_left.saturating_sub(kept).checked_sub(hidden) else { return Gap::Lost };
        self.frame_left = left;
        let carry = mem::take(&mut self.carry.0);
        self.release(carry);
        self.skip_rest();
        Gap::Frame
    }
}
