//! A checked cursor over the bytes of one frame that are at hand.
//!
//! Bodies are read in *elements* (a topic head, a partition head, a record batch's head). An element is read whole or not at
//! all: when bytes are missing the reader says how many, and the element is read again from its start once they are there.
//! [`Reader::commit`] ends an element. What happens depends on the frame's length and on the limit, never on how the frame
//! was cut into reads, so the same bytes always give the same observations.

use core::mem;

use crate::Ids;

/// Why an element could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// More bytes are needed ([`Edge::missing`]), and the frame has them.
    Short,
    /// The frame ends before the element, or a value is impossible.
    Malformed,
    /// A field is longer than may be buffered.
    TooLarge,
    /// The reader of the frame has seen what it wanted; the rest is not looked at.
    Enough,
}

pub(crate) type Read<T> = Result<T, Halt>;

/// What a [`Reader`] rarely needs. It is apart, so that the compiler can keep the rest in registers.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Bytes that were at hand at the last commit.
    mark: usize,
    /// Bytes of the frame behind those at hand, less those of `debt`.
    beyond: u64,
    /// Bytes to skip that are not at hand.
    debt: u64,
    /// Longest element whose variable part is believed.
    limit: usize,
    /// Why the element cannot be read.
    halt: Option<Halt>,
    /// How many bytes more [`Halt::Short`] asks for.
    missing: usize,
}

impl Edge {
    /// For bytes behind which the frame has `beyond` more.
    #[inline(always)]
    pub(crate) const fn new(at_hand: usize, beyond: u64) -> Self {
        Self { mark: at_hand, beyond, debt: 0, limit: usize::MAX, halt: None, missing: 0 }
    }

    /// Bytes from the last commit to the end of what is at hand.
    #[inline(always)]
    pub(crate) const fn uncommitted(&self) -> usize {
        self.mark
    }

    /// Bytes to skip that are not at hand.
    #[inline(always)]
    pub(crate) const fn debt(&self) -> u64 {
        self.debt
    }

    /// How many bytes more the element needs.
    #[inline(always)]
    pub(crate) const fn missing(&self) -> usize {
        self.missing
    }

    /// Keeps the first reason.
    #[cold]
    #[inline(never)]
    const fn fail(&mut self, halt: Halt) {
        if self.halt.is_none() {
            self.halt = Some(halt);
        }
    }

    /// `wanted` bytes are more than those at hand.
    #[cold]
    #[inline(never)]
    const fn short(&mut self, wanted: usize, at_hand: usize) {
        if self.halt.is_some() {
            return;
        }
        if wanted as u64 > self.beyond.saturating_add(at_hand as u64) {
            self.halt = Some(Halt::Malformed);
        } else {
            self.halt = Some(Halt::Short);
            self.missing = wanted.saturating_sub(at_hand);
        }
    }

    /// The same for a field of variable length.
    #[cold]
    #[inline(never)]
    const fn short_variable(&mut self, wanted: usize, at_hand: usize) {
        let element = self.mark.saturating_sub(at_hand).saturating_add(wanted);
        if wanted as u64 <= self.beyond.saturating_add(at_hand as u64) && element > self.limit {
            self.fail(Halt::TooLarge);
        } else {
            self.short(wanted, at_hand);
        }
    }
}

/// See the module's first paragraph.
///
/// What cannot be read reads as 0 or empty; [`commit`](Self::commit) tells.
#[derive(Debug)]
pub(crate) struct Reader<'a, 'e> {
    rest: &'a [u8],
    edge: &'e mut Edge,
}

impl<'a, 'e> Reader<'a, 'e> {
    #[inline(always)]
    pub(crate) const fn new(bytes: &'a [u8], edge: &'e mut Edge) -> Self {
        Self { rest: bytes, edge }
    }

    /// Runs `walk` on a copy, which the compiler can keep in registers.
    #[inline(always)]
    pub(crate) fn with_copy<T>(&mut self, walk: impl FnOnce(&mut Reader<'a, '_>) -> T) -> T {
        let mut copy = Reader { rest: self.rest, edge: &mut *self.edge };
        let result = walk(&mut copy);
        self.rest = copy.rest;
        result
    }

    /// Ends the element, unless it could not be read.
    #[inline(always)]
    pub(crate) const fn commit(&mut self) -> Read<()> {
        match self.edge.halt {
            None => {
                self.edge.mark = self.rest.len();
                Ok(())
            }
            Some(halt) => Err(halt),
        }
    }

    /// Why the element cannot be read, as far as is known by now.
    pub(crate) const fn failure(&self) -> Option<Halt> {
        self.edge.halt
    }

    /// Goes on as if what could not be read were the end of the frame.
    pub(crate) const fn forgive(&mut self) {
        self.edge.halt = None;
    }

    /// Elements from here on may have so many bytes in fields of variable length.
    #[inline(always)]
    pub(crate) const fn set_limit(&mut self, limit: usize) {
        self.edge.limit = limit;
    }

    /// Bytes of the frame that were neither read nor skipped.
    #[inline(always)]
    pub(crate) const fn left(&self) -> u64 {
        self.edge.beyond.saturating_add(self.rest.len() as u64)
    }

    /// The next `N` bytes.
    #[inline(always)]
    pub(crate) const fn fixed<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                *taken
            }
            None => {
                self.edge.short(N, self.rest.len());
                self.rest = &[];
                [0; N]
            }
        }
    }

    /// The next `N` bytes, if they are at hand. They stay unread.
    #[inline(always)]
    pub(crate) const fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest.first_chunk::<N>()
    }

    /// Why the next `N` bytes cannot be read: they are not at hand.
    pub(crate) fn lacks<const N: usize>(&mut self) -> Halt {
        self.fixed::<N>();
        self.failure().unwrap_or(Halt::Malformed)
    }

    #[inline(always)]
    pub(crate) const fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    #[inline(always)]
    pub(crate) const fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    #[inline(always)]
    pub(crate) const fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    #[inline(always)]
    pub(crate) const fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    /// An unsigned varint of up to 32 bits.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> u32 {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                u32::from(byte)
            }
            // Sizes of batches.
            Some((&low, [high, rest @ ..])) if *high < 0x80 => {
                self.rest = rest;
                u32::from(low & 0x7f) | u32::from(*high) << 7
            }
            _ => {
                let (value, rest) = long_varint(self.rest, self.edge);
                self.rest = rest;
                value
            }
        }
    }

    /// `length` bytes of variable length.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                // The mark is never behind what is left.
                if self.edge.mark.wrapping_sub(rest.len()) > self.edge.limit {
                    self.edge.fail(Halt::TooLarge);
                }
                self.rest = rest;
                taken
            }
            None => {
                self.edge.short_variable(length, self.rest.len());
                self.rest = &[];
                &[]
            }
        }
    }

    /// `length` bytes for which there is a budget: the limit of an element does not apply.
    #[inline]
    pub(crate) fn budgeted(&mut self, length: usize) -> &'a [u8] {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                taken
            }
            None => {
                self.edge.short(length, self.rest.len());
                self.rest = &[];
                &[]
            }
        }
    }

    /// The next `length` bytes, for which the limit of an element does not apply either. They stay unread.
    pub(crate) fn ahead(&mut self, length: usize) -> Read<&'a [u8]> {
        match self.rest.get(..length) {
            Some(bytes) => Ok(bytes),
            None => {
                self.budgeted(length);
                Err(self.failure().unwrap_or(Halt::Malformed))
            }
        }
    }

    /// All that is left at hand.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        mem::take(&mut self.rest)
    }

    /// Reads what is left of the frame as one element.
    pub(crate) fn collect<T>(&mut self, read: impl FnOnce(&mut Reader<'a, '_>) -> Read<T>) -> Read<T> {
        let length = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let bytes = self.bytes(length);
        self.commit()?;
        whole(bytes, read)
    }

    /// Skips `count` bytes, at hand or not, and ends the element.
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u64) -> Read<()> {
        self.commit()?;
        let at_hand = self.rest.len() as u64;
        if count <= at_hand {
            // Not more than a slice's length, so it fits.
            self.rest = self.rest.get(count as usize..).unwrap_or_default();
        } else {
            let debt = count.wrapping_sub(at_hand);
            self.edge.beyond = self.edge.beyond.checked_sub(debt).ok_or(Halt::Malformed)?;
            self.edge.debt = self.edge.debt.wrapping_add(debt);
            self.rest = &[];
        }
        self.edge.mark = self.rest.len();
        Ok(())
    }

    /// A count of array elements, or a number of bytes, `None` for null.
    #[inline(always)]
    pub(crate) fn nullable_count(&mut self, flexible: bool) -> Option<u32> {
        if flexible {
            self.varint().checked_sub(1)
        } else {
            let count = self.i32();
            if count < -1 {
                self.edge.fail(Halt::Malformed);
            }
            u32::try_from(count).ok()
        }
    }

    /// The same, with null read as 0, as Kafka's own clients of old did.
    #[inline(always)]
    pub(crate) fn count(&mut self, flexible: bool) -> u32 {
        self.nullable_count(flexible).unwrap_or(0)
    }

    /// A string, `None` for null.
    #[inline(always)]
    pub(crate) fn nullable_string(&mut self, flexible: bool) -> Option<&'a [u8]> {
        let length = if flexible {
            self.varint().checked_sub(1)? as usize
        } else {
            let length = self.i16();
            if length < -1 {
                self.edge.fail(Halt::Malformed);
            }
            usize::try_from(length).ok()?
        };
        Some(self.bytes(length))
    }

    /// A string that must not be null.
    #[inline(always)]
    pub(crate) fn string(&mut self, flexible: bool) -> &'a [u8] {
        self.nullable_string(flexible).unwrap_or_else(|| {
            self.edge.fail(Halt::Malformed);
            &[]
        })
    }

    /// A byte field, empty for null.
    pub(crate) fn blob(&mut self, flexible: bool) -> &'a [u8] {
        let length = self.count(flexible);
        self.bytes(length as usize)
    }

    /// An array of 32-bit numbers, empty for null.
    pub(crate) fn ids(&mut self, flexible: bool) -> Ids<'a> {
        let count = self.count(flexible) as usize;
        Ids::from_wire(self.bytes(count.saturating_mul(4)))
    }
}

/// Reads `bytes`, behind which nothing comes, to their end.
pub(crate) fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Reader<'a, '_>) -> Read<T>) -> Read<T> {
    let mut edge = Edge::new(bytes.len(), 0);
    let mut reader = Reader::new(bytes, &mut edge);
    let value = read(&mut reader)?;
    reader.commit()?;
    if reader.left() > 0 { Err(Halt::Malformed) } else { Ok(value) }
}

#[inline(never)]
fn long_varint<'a>(bytes: &'a [u8], edge: &mut Edge) -> (u32, &'a [u8]) {
    let mut value = 0u32;
    let mut rest = bytes;
    for shift in [0u32, 7, 14, 21, 28] {
        let Some((&byte, after)) = rest.split_first() else {
            edge.short(bytes.len().saturating_add(1), bytes.len());
            return (0, &[]);
        };
        rest = after;
        if shift == 28 && byte > 0x0f {
            break;
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value, rest);
        }
    }
    edge.fail(Halt::Malformed);
    (0, &[])
}

/// A list of tagged fields (KIP-482), each an element of its own: one more than are left. 0: their number comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tags(u32);

impl Tags {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Skips them. Is ready for the next list afterwards.
    #[inline(always)]
    pub(crate) fn skip(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        // None is wanted, so none comes.
        self.next(reader, |_| false)?;
        Ok(())
    }

    /// Skips them up to the next one whose number is `wanted`: that and its bytes. `None`: the list has ended, and this is
    /// ready for the next one.
    #[inline(always)]
    pub(crate) fn next<'a>(
        &mut self,
        reader: &mut Reader<'a, '_>,
        wanted: fn(u32) -> bool,
    ) -> Read<Option<(u32, &'a [u8])>> {
        if self.0 == 0
            && let Some((0, rest)) = reader.rest.split_first()
        {
            reader.rest = rest;
            reader.commit()?;
            return Ok(None);
        }
        let mut tags = *self;
        let next = reader.with_copy(|copy| tags.next_of_some(copy, wanted));
        *self = tags;
        next
    }

    #[cold]
    #[inline(never)]
    fn next_of_some<'a>(
        &mut self,
        reader: &mut Reader<'a, '_>,
        wanted: fn(u32) -> bool,
    ) -> Read<Option<(u32, &'a [u8])>> {
        if self.0 == 0 {
            let count = reader.varint();
            reader.commit()?;
            // No frame has so many.
            self.0 = count.checked_add(1).ok_or(Halt::Malformed)?;
        }
        while self.0 > 1 {
            let (tag, size) = (reader.varint(), reader.varint());
            if wanted(tag) {
                let value = reader.bytes(size as usize);
                reader.commit()?;
                self.0 = self.0.wrapping_sub(1);
                return Ok(Some((tag, value)));
            }
            reader.skip(u64::from(size))?;
            self.0 = self.0.wrapping_sub(1);
        }
        self.0 = 0;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes`, behind which the frame has `beyond` more, and tells how it ended, and how many bytes are missing.
    fn read<T>(
        bytes: &[u8],
        beyond: u64,
        limit: usize,
        read: impl FnOnce(&mut Reader<'_, '_>) -> T,
    ) -> (T, Option<Halt>, usize) {
        let mut edge = Edge::new(bytes.len(), beyond);
        let mut reader = Reader::new(bytes, &mut edge);
        reader.set_limit(limit);
        let value = read(&mut reader);
        (value, reader.commit().err(), edge.missing())
    }

    #[test]
    fn every_prefix_is_short_by_what_is_missing_or_malformed_at_the_frames_end() {
        let message = [0, 0, 0, 7, 0, 3, b'a', b'b', b'c', 4, b'x', b'y', b'z'];
        let fields =
            |reader: &mut Reader<'_, '_>| (reader.i32(), reader.string(false).len(), reader.string(true).len());
        for cut in 0..message.len() {
            let beyond = (message.len() - cut) as u64;
            let (_, halt, missing) = read(&message[..cut], beyond, 100, fields);
            assert_eq!(halt, Some(Halt::Short), "{cut}");
            assert!(missing > 0 && missing as u64 <= beyond, "{cut}");
            assert_eq!(read(&message[..cut], 0, 100, fields).1, Some(Halt::Malformed), "{cut}");
        }
        assert_eq!(read(&message, 0, 100, fields), ((7, 3, 3), None, 0));
    }

    #[test]
    fn lengths_are_believed_only_within_frame_and_limit() {
        let string = |bytes: &[u8], beyond, limit| {
            let (string, halt, _) = read(bytes, beyond, limit, |reader| reader.nullable_string(false).map(<[u8]>::len));
            (string, halt)
        };
        assert_eq!(string(&[0x7f, 0xff, 1], 40_000, 100).1, Some(Halt::TooLarge));
        assert_eq!(string(&[0x7f, 0xff, 1], 30_000, 100).1, Some(Halt::Malformed));
        assert_eq!(string(&[0xff, 0xff], 0, 100), (None, None));
        assert_eq!(string(&[0xff, 0xfe, 1], 0, 100).1, Some(Halt::Malformed), "-2 is no length");
        assert_eq!(string(&[0, 3, 1, 2, 3], 0, 5), (Some(3), None));
        assert_eq!(string(&[0, 3, 1, 2, 3], 0, 4).1, Some(Halt::TooLarge), "also when all is at hand");
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xfe], 0, 9, |reader| reader.count(false)).1, Some(Halt::Malformed));
        assert_eq!(read(&[0], 0, 9, |reader| reader.string(true).len()).1, Some(Halt::Malformed), "null");
    }

    #[test]
    fn varints_end_after_32_bits() {
        let varint = |bytes: &[u8], beyond| {
            let (value, halt, missing) = read(bytes, beyond, 9, |reader| (reader.varint(), reader.left()));
            halt.map_or(Ok(value), |halt| Err((halt, missing)))
        };
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f], 0), Ok((u32::MAX, 0)));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0), Err((Halt::Malformed, 0)));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0], 0), Err((Halt::Malformed, 0)));
        assert_eq!(varint(&[0x80], 1), Err((Halt::Short, 1)));
        assert_eq!(varint(&[0x80], 0), Err((Halt::Malformed, 0)));
        assert_eq!(varint(&[], 1), Err((Halt::Short, 1)));
        assert_eq!(varint(&[0xac, 0x02, 7], 0), Ok((300, 1)));
    }

    #[test]
    fn a_skip_may_lead_beyond_what_is_at_hand_but_not_beyond_the_frame() {
        let mut edge = Edge::new(3, 10);
        let mut reader = Reader::new(&[1, 2, 3], &mut edge);
        assert_eq!(reader.skip(8), Ok(()));
        assert_eq!(reader.left(), 5);
        reader.i32();
        assert_eq!(reader.commit(), Err(Halt::Short));
        assert_eq!((edge.debt(), edge.uncommitted(), edge.missing()), (5, 0, 4));
        assert_eq!(read(&[1, 2, 3], 10, 9, |reader| (reader.skip(8), reader.i64())).1, Some(Halt::Malformed));
        assert_eq!(read(&[1, 2, 3], 10, 9, |reader| reader.skip(14)).0, Err(Halt::Malformed));
    }

    #[test]
    fn what_follows_a_failure_neither_hides_nor_changes_it() {
        let (skipped, halt, missing) = read(&[0, 0], 100, 9, |reader| {
            reader.i32();
            reader.fixed::<90>();
            reader.string(false);
            reader.skip(1)
        });
        assert_eq!((skipped, halt, missing), (Err(Halt::Short), Some(Halt::Short), 2));
    }

    #[test]
    fn tagged_fields_of_any_number_and_size_are_skipped_one_by_one() {
        let message = [2, 0, 1, 9, 7, 3, 1, 2, 3, 99];
        let mut tags = Tags::new();
        assert_eq!(read(&message, 0, 4, |reader| (tags.skip(reader), reader.i8())).0, (Ok(()), 99));
        assert_eq!(tags, Tags::new());
        let mut edge = Edge::new(5, 5);
        let mut reader = Reader::new(&message[..5], &mut edge);
        assert_eq!(tags.skip(&mut reader), Err(Halt::Short));
        assert_eq!((tags, edge.uncommitted()), (Tags(2), 1), "one is left");
    }

    #[test]
    fn wanted_tagged_fields_are_handed_over_wherever_the_bytes_are_cut() {
        let message = [3, 0, 1, 9, 1, 2, 8, 7, 4, 0];
        let wanted = |tag| tag == 1;
        for cut in 0..=message.len() {
            let mut tags = Tags::new();
            let mut edge = Edge::new(cut, (message.len() - cut) as u64);
            let first = tags.next(&mut Reader::new(&message[..cut], &mut edge), wanted);
            let rest = &message[cut - edge.uncommitted() + edge.debt() as usize..];
            let mut edge = Edge::new(rest.len(), 0);
            let mut reader = Reader::new(rest, &mut edge);
            let field = match first {
                Err(halt) => {
                    assert_eq!(halt, Halt::Short);
                    tags.next(&mut reader, wanted)
                }
                found => found,
            };
            assert_eq!(field, Ok(Some((1, &[8, 7][..]))), "{cut}");
            assert_eq!(tags.next(&mut reader, wanted), Ok(None), "{cut}");
            assert_eq!((tags, reader.left()), (Tags::new(), 0));
        }
    }
}
