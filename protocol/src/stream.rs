//! One direction of a connection: where frames begin and end, what is to be skipped, and the few bytes of an element that was
//! cut by the end of a read.

use alloc::vec::Vec;
use core::{fmt, mem};

use crate::{
    Timestamp, UndecodedReason,
    reader::{Edge, Halt, Read, Reader},
};

/// A carry buffer that has grown beyond this is given back after use, in bytes.
const KEPT: usize = 512;

/// What comes next in a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A frame's length.
    Length,
    /// The inside of a frame.
    Frame,
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

    /// Bytes to come before the frame ends; see [`Connection::rest_of_frame`](crate::Connection::rest_of_frame).
    pub(crate) fn rest_of_frame(&self) -> Option<u64> {
        let carried = self.carry.0.len();
        match self.phase {
            Phase::Lost => None,
            Phase::Length if carried == 0 => Some(0),
            Phase::Length => Some(self.need.saturating_sub(carried) as u64),
            Phase::Frame | Phase::End => Some(self.frame_left.saturating_sub(carried as u64)),
        }
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
            self.frame_start = self.offset(input, total);
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

    /// Whether a frame's length comes next, nothing of it has been read, and it is not the first one's.
    #[inline(always)]
    pub(crate) fn is_between_frames(&self) -> bool {
        self.phase == Phase::Length && self.carry.0.is_empty() && self.begun
    }

    /// Where `input`, the rest of a read of `total` bytes, begins, in bytes of this direction.
    #[inline(always)]
    pub(crate) const fn offset(&self, input: &[u8], total: usize) -> u64 {
        // The rest is not longer than the whole.
        self.seen.wrapping_add(total.wrapping_sub(input.len()) as u64)
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
        self.phase = Phase::Frame;
        self.begun = true;
    }

    /// The body has been read to its end, but for what is to be skipped. Whether the frame has more, which is skipped too.
    #[inline]
    pub(crate) fn end_body(&mut self) -> bool {
        let more = self.frame_left > self.skip;
        self.skip_rest();
        more
    }

    /// What is left of the frame is not looked at.
    #[inline]
    pub(crate) fn skip_rest(&mut self) {
        if !self.carry.0.is_empty() {
            self.drop_carry();
        }
        self.skip = self.frame_left;
        self.phase = Phase::End;
    }

    /// What was only looked at is not wanted. It has already been taken from the input.
    #[cold]
    fn drop_carry(&mut self) {
        let carry = mem::take(&mut self.carry.0);
        self.frame_left = self.frame_left.saturating_sub(carry.len() as u64);
        self.release(carry);
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
        if let Some((taken, rest)) = input.split_at_checked(wanted)
            && wanted > 0
        {
            self.carry.0.extend_from_slice(taken);
            *input = rest;
        }
        self.carry.0.len() >= self.need
    }

    /// Takes the next frame if it is whole, longer than `shortest` and not longer than `longest`.
    #[inline(always)]
    pub(crate) fn whole_frame<'a>(input: &mut &'a [u8], shortest: u32, longest: u32) -> Option<&'a [u8]> {
        let (length, rest) = input.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length);
        if length < shortest || length > longest {
            return None;
        }
        let (frame, rest) = rest.split_at_checked(length as usize)?;
        *input = rest;
        Some(frame)
    }

    /// Reads as many elements as are at hand.
    #[inline(always)]
    pub(crate) fn elements(
        &mut self,
        input: &mut &[u8],
        mut read: impl FnMut(&mut Reader<'_, '_>) -> Read<()>,
    ) -> Step {
        loop {
            let carried = if self.carry.0.is_empty() { None } else { self.carried(input) };
            let at_hand = self.frame_left.min(input.len() as u64);
            // Not longer than the input, so it fits.
            let (bytes, beyond) = match &carried {
                Some(carry) => (carry.as_slice(), self.frame_left.saturating_sub(carry.len() as u64)),
                None if !self.carry.0.is_empty() => return Step::Starved,
                None => (input.get(..at_hand as usize).unwrap_or_default(), self.frame_left.wrapping_sub(at_hand)),
            };
            let mut edge = Edge::new(bytes.len(), beyond);
            let outcome = read(&mut Reader::new(bytes, &mut edge));
            let (uncommitted, debt, missing) = (edge.uncommitted(), edge.debt(), edge.missing());
            // What is not committed is part of what was at hand, and that of the frame.
            let done = bytes.len().wrapping_sub(uncommitted);
            self.frame_left = self.frame_left.wrapping_sub(done as u64);
            self.skip = debt;
            if let Some(carry) = carried {
                match self.after_carried(carry, outcome, uncommitted, missing) {
                    Some(step) => return step,
                    None => continue,
                }
            }
            *input = input.get(done..).unwrap_or_default();
            return match outcome {
                Ok(()) => Step::Done,
                Err(Halt::Short) => {
                    if debt == 0 {
                        self.need = uncommitted.saturating_add(missing);
                        self.refill(input);
                    }
                    Step::Starved
                }
                Err(halt) => self.stop(halt),
            };
        }
    }

    /// The one element that was cut, if it is whole now.
    #[cold]
    fn carried(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        self.refill(input).then(|| mem::take(&mut self.carry.0))
    }

    /// What follows from having tried it. `None`: go on.
    #[cold]
    fn after_carried(
        &mut self,
        mut carry: Vec<u8>,
        outcome: Read<()>,
        uncommitted: usize,
        missing: usize,
    ) -> Option<Step> {
        let step = match outcome {
            Ok(()) if uncommitted == 0 => Some(Step::Done),
            Err(Halt::Short) if uncommitted == 0 && self.skip > 0 => Some(Step::Starved),
            Err(Halt::Short) if uncommitted == 0 => None,
            Ok(()) | Err(Halt::Short) => {
                // Either it needs still more, or it was only looked at and will be asked again.
                self.need = uncommitted.saturating_add(missing);
                carry.drain(..carry.len().saturating_sub(uncommitted));
                self.carry.0 = carry;
                return outcome.is_ok().then_some(Step::Done);
            }
            Err(halt) => {
                // The bytes in the buffer have already been taken from the input.
                self.frame_left = self.frame_left.saturating_sub(uncommitted as u64);
                Some(self.stop(halt))
            }
        };
        self.release(carry);
        step
    }

    /// The rest of the frame is not looked at.
    fn stop(&mut self, halt: Halt) -> Step {
        self.skip_rest();
        match halt {
            Halt::Enough => Step::Done,
            Halt::TooLarge => Step::Failed(UndecodedReason::TooLarge),
            Halt::Malformed | Halt::Short => Step::Failed(UndecodedReason::Malformed),
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
            Phase::Frame | Phase::End => self.pass_unseen(count),
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use std::vec::Vec;

    use super::*;

    /// A stream within a frame of `length` bytes.
    fn within(length: u32) -> Stream {
        let mut stream = Stream::new();
        stream.begin(length);
        stream
    }

    /// Reads pairs of bytes until the frame ends.
    fn pairs(stream: &mut Stream, input: &mut &[u8], seen: &mut Vec<[u8; 2]>) -> Step {
        stream.elements(input, |reader| {
            while reader.left() > 0 {
                let pair = reader.fixed();
                reader.commit()?;
                seen.push(pair);
            }
            Ok(())
        })
    }

    #[test]
    fn an_element_that_is_cut_is_read_once_it_is_whole() {
        let mut stream = within(6);
        let mut seen = Vec::new();
        assert_eq!(pairs(&mut stream, &mut &[1, 2, 3][..], &mut seen), Step::Starved);
        assert_eq!(seen, [[1, 2]]);
        assert_eq!(stream.rest_of_frame(), Some(3));
        assert_eq!(pairs(&mut stream, &mut &[][..], &mut seen), Step::Starved);
        let mut input = &[4, 5, 6, 7][..];
        assert_eq!(pairs(&mut stream, &mut input, &mut seen), Step::Done);
        assert_eq!((&seen[..], input), (&[[1, 2], [3, 4], [5, 6]][..], &[7][..]), "not beyond the frame");
        assert!(!stream.end_body());
        assert_eq!((stream.phase, stream.rest_of_frame()), (Phase::End, Some(0)));
    }

    #[test]
    fn an_element_beyond_the_frames_end_fails_and_the_rest_is_skipped() {
        for cut in 0..5 {
            let mut stream = within(5);
            let mut seen = Vec::new();
            let frame = [1, 2, 3, 4, 5];
            let mut step = pairs(&mut stream, &mut &frame[..cut], &mut seen);
            let mut input = &frame[cut..];
            while step == Step::Starved {
                step = pairs(&mut stream, &mut input, &mut seen);
            }
            assert_eq!(step, Step::Failed(UndecodedReason::Malformed));
            assert!(!stream.pass(&mut input));
            assert_eq!((stream.rest_of_frame(), input), (Some(0), &[][..]), "{cut}");
        }
    }

    #[test]
    fn what_is_skipped_is_announced_up_to_the_next_byte_that_is_needed() {
        let mut stream = within(100);
        let skip = |reader: &mut Reader<'_, '_>| {
            reader.skip(50)?;
            reader.i64();
            reader.commit()
        };
        assert_eq!(stream.elements(&mut &[0; 10][..], skip), Step::Starved);
        assert_eq!(stream.opaque(), 40);
        assert_eq!(stream.pass_unseen(30), 0);
        assert_eq!(stream.opaque(), 10);
        assert_eq!(stream.pass_unseen(15), 5, "beyond the run");
        assert_eq!(stream.rest_of_frame(), Some(50));
    }

    #[test]
    fn a_gap_is_harmless_within_a_skip_costs_a_frame_within_it_and_sync_beyond() {
        let skipping = || {
            let mut stream = within(100);
            assert_eq!(stream.elements(&mut &[][..], |reader| reader.skip(60)), Step::Done);
            stream
        };
        assert_eq!(skipping().gap(60), Gap::Harmless);
        assert_eq!(skipping().gap(61), Gap::Frame);
        assert_eq!(skipping().gap(100), Gap::Frame);
        assert_eq!(skipping().gap(101), Gap::Lost);
        assert_eq!(Stream::new().gap(1), Gap::Lost);
        assert_eq!(Stream::new().gap(0), Gap::Harmless);

        let mut stream = within(10);
        assert_eq!(pairs(&mut stream, &mut &[1][..], &mut Vec::new()), Step::Starved);
        assert_eq!(stream.gap(9), Gap::Frame, "the byte that is kept counts");
        assert_eq!((stream.rest_of_frame(), stream.opaque()), (Some(0), 0));
        let mut stream = within(10);
        assert_eq!(pairs(&mut stream, &mut &[1][..], &mut Vec::new()), Step::Starved);
        assert_eq!(stream.gap(10), Gap::Lost);
    }

    #[test]
    fn a_length_may_come_in_pieces_and_says_where_its_frame_began() {
        let mut stream = Stream::new();
        stream.saw(1_000);
        assert_eq!(stream.length(&mut &[0][..], 5, Timestamp(1)), None);
        assert_eq!(stream.rest_of_frame(), Some(3));
        stream.saw(5);
        let mut input = &[0, 1, 2, 3][..];
        assert_eq!(stream.length(&mut input, 4, Timestamp(2)), Some([0, 0, 1, 2]));
        stream.begin(258);
        assert_eq!((stream.first_byte, stream.frame_end(), input), (Timestamp(1), 1_004 + 262, &[3][..]));
    }

    #[test]
    fn what_is_kept_is_never_printed() {
        let mut stream = within(100);
        assert_eq!(stream.elements(&mut &b"secret"[..], |reader| reader.collect(|_| Ok(()))), Step::Starved);
        let printed = format!("{stream:?}");
        assert!(printed.contains("carry: 6 bytes"), "{printed}");
        assert!(!printed.contains("115, 101") && !printed.contains("secret"), "{printed}");
    }
}
