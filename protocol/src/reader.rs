//! A checked cursor over the bytes of one frame that are at hand.
//!
//! Bodies are read in *elements* (a topic head, a partition head, a record batch's head). An element is read whole or not at
//! all: when bytes are missing the reader says how many, and the element is read again from its start once they are there.
//! [`Reader::commit`] ends an element. What happens depends on the frame's length and on the limit, never on how the frame
//! was cut into reads, so the same bytes always give the same observations.

/// Why an element could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// More bytes are needed ([`Reader::missing`]), and the frame has them.
    Short,
    /// The frame ends before the element, or a value is impossible.
    Malformed,
    /// A field is longer than may be buffered.
    TooLarge,
    /// The reader of the frame has seen what it wanted; the rest is not looked at.
    Enough,
}

pub(crate) type Read<T> = Result<T, Halt>;

/// See the module's first paragraph.
///
/// It is copied into a local where it is used much, and whatever is rare works on a further copy: then the compiler keeps
/// it in registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Length of `rest` at the last commit.
    mark: usize,
    /// Bytes of the frame behind `rest`, less those of `debt`.
    beyond: u64,
    /// Bytes to skip that are not at hand.
    debt: u64,
    /// Longest element whose variable part is believed.
    limit: usize,
    /// How many bytes more [`Halt::Short`] asks for.
    missing: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, behind which the frame has `beyond` more.
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8], beyond: u64, limit: usize) -> Self {
        Self { rest: bytes, mark: bytes.len(), beyond, debt: 0, limit, missing: 0 }
    }

    /// Ends the element.
    #[inline(always)]
    pub(crate) const fn commit(&mut self) {
        self.mark = self.rest.len();
    }

    /// Elements from here on may have so many bytes in fields of variable length.
    #[inline(always)]
    pub(crate) const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
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

    /// Bytes of the frame that were neither read nor skipped.
    #[inline(always)]
    pub(crate) const fn left(&self) -> u64 {
        (self.rest.len() as u64).saturating_add(self.beyond)
    }

    /// What is left is too short for `wanted` bytes.
    #[inline(always)]
    const fn short(&mut self, wanted: usize) -> Halt {
        let (halt, missing) = short(wanted, self.rest.len(), self.beyond);
        self.missing = missing;
        halt
    }

    /// The next `N` bytes.
    #[inline(always)]
    pub(crate) const fn fixed<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.short(N)),
        }
    }

    /// The next `N` bytes, which stay unread.
    #[inline(always)]
    pub(crate) const fn peek<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        match self.rest.first_chunk::<N>() {
            Some(bytes) => Ok(bytes),
            None => Err(self.short(N)),
        }
    }

    #[inline(always)]
    pub(crate) fn i8(&mut self) -> Read<i8> {
        self.fixed::<1>().copied().map(i8::from_be_bytes)
    }

    #[inline(always)]
    pub(crate) fn i16(&mut self) -> Read<i16> {
        self.fixed::<2>().copied().map(i16::from_be_bytes)
    }

    #[inline(always)]
    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.fixed::<4>().copied().map(i32::from_be_bytes)
    }

    #[inline(always)]
    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.fixed::<8>().copied().map(i64::from_be_bytes)
    }

    /// An unsigned varint of up to 32 bits.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Read<u32> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u32::from(byte))
            }
            _ => match long_varint(self.rest) {
                Ok((value, length)) => {
                    // As many bytes were looked at.
                    self.rest = self.rest.get(length..).unwrap_or_default();
                    Ok(value)
                }
                Err(true) => Err(self.short(self.rest.len().wrapping_add(1))),
                Err(false) => Err(Halt::Malformed),
            },
        }
    }

    /// `length` bytes of variable length.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, length: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                // The mark is never behind what is left.
                if self.mark.wrapping_sub(rest.len()) > self.limit {
                    return Err(Halt::TooLarge);
                }
                self.rest = rest;
                Ok(taken)
            }
            None => {
                let element = self.mark.wrapping_sub(self.rest.len());
                if length as u64 <= self.left() && element.saturating_add(length) > self.limit {
                    return Err(Halt::TooLarge);
                }
                Err(self.short(length))
            }
        }
    }

    /// `length` bytes for which there is a budget: the limit of an element does not apply.
    #[inline]
    pub(crate) fn budgeted(&mut self, length: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.short(length)),
        }
    }

    /// What is left of the frame, as one element.
    pub(crate) fn body(&mut self) -> Read<Reader<'a>> {
        let length = usize::try_from(self.left()).ok().ok_or(Halt::TooLarge)?;
        Ok(Reader::new(self.bytes(length)?, 0, self.limit))
    }

    /// Ends an element that was read through [`body`](Self::body): nothing may be left of it.
    pub(crate) fn finish(&mut self, body: &Reader<'_>) -> Read<()> {
        if body.left() > 0 {
            return Err(Halt::Malformed);
        }
        self.commit();
        Ok(())
    }

    /// Skips `count` bytes, at hand or not, and ends the element.
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u64) -> Read<()> {
        let at_hand = self.rest.len() as u64;
        if count <= at_hand {
            // Not more than a slice's length, so it fits.
            self.rest = self.rest.get(count as usize..).unwrap_or_default();
        } else {
            let debt = count.wrapping_sub(at_hand);
            self.beyond = self.beyond.checked_sub(debt).ok_or(Halt::Malformed)?;
            self.debt = self.debt.wrapping_add(debt);
            self.rest = &[];
        }
        self.commit();
        Ok(())
    }

    /// A count of array elements, `None` for a null array.
    #[inline(always)]
    pub(crate) fn nullable_count(&mut self, flexible: bool) -> Read<Option<u32>> {
        if flexible {
            Ok(self.varint()?.checked_sub(1))
        } else {
            match self.i32()? {
                -1 => Ok(None),
                count => u32::try_from(count).ok().ok_or(Halt::Malformed).map(Some),
            }
        }
    }

    /// A count of array elements, or a number of bytes; null is read as 0, as Kafka's own clients of old did.
    #[inline(always)]
    pub(crate) fn count(&mut self, flexible: bool) -> Read<u32> {
        Ok(self.nullable_count(flexible)?.unwrap_or(0))
    }

    /// A string, `None` for null.
    #[inline(always)]
    pub(crate) fn nullable_string(&mut self, flexible: bool) -> Read<Option<&'a [u8]>> {
        let length = if flexible {
            match self.varint()?.checked_sub(1) {
                Some(length) => length as usize,
                None => return Ok(None),
            }
        } else {
            match self.i16()? {
                -1 => return Ok(None),
                length => usize::try_from(length).ok().ok_or(Halt::Malformed)?,
            }
        };
        self.bytes(length).map(Some)
    }

    /// A string that must not be null.
    #[inline(always)]
    pub(crate) fn string(&mut self, flexible: bool) -> Read<&'a [u8]> {
        self.nullable_string(flexible)?.ok_or(Halt::Malformed)
    }

    /// A byte field, empty for null.
    pub(crate) fn blob(&mut self, flexible: bool) -> Read<&'a [u8]> {
        let length = self.count(flexible)?;
        self.bytes(length as usize)
    }

    /// A tagged field's number and size (KIP-482).
    #[inline]
    pub(crate) fn tag(&mut self) -> Read<(u32, u32)> {
        Ok((self.varint()?, self.varint()?))
    }
}

/// A varint and its length. An error says whether it may go on.
#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u32, usize), bool> {
    let mut value = 0u32;
    for ((&byte, shift), length) in bytes.iter().zip([0u32, 7, 14, 21, 28]).zip(1usize..) {
        if shift == 28 && byte > 0x0f {
            return Err(false);
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value, length));
        }
    }
    Err(true)
}

/// `wanted` bytes are more than the `at_hand` ones, behind which the frame has `beyond`.
#[cold]
#[inline(never)]
const fn short(wanted: usize, at_hand: usize, beyond: u64) -> (Halt, usize) {
    if wanted as u64 > (at_hand as u64).saturating_add(beyond) {
        (Halt::Malformed, 0)
    } else {
        (Halt::Short, wanted.saturating_sub(at_hand))
    }
}

/// A list of tagged fields none of which is wanted: how many are left to skip. 0: their number comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tags(u32);

impl Tags {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Skips them, each an element of its own. Is ready for the next list afterwards.
    #[inline(always)]
    pub(crate) fn skip(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if self.0 == 0
            && let Some((0, rest)) = reader.rest.split_first()
        {
            reader.rest = rest;
            reader.commit();
            return Ok(());
        }
        let (mut tags, mut copy) = (*self, *reader);
        let skipped = tags.skip_some(&mut copy);
        (*self, *reader) = (tags, copy);
        skipped
    }

    #[cold]
    #[inline(never)]
    fn skip_some(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if self.0 == 0 {
            self.0 = reader.varint()?;
            reader.commit();
        }
        while let Some(left) = self.0.checked_sub(1) {
            let (_, size) = reader.tag()?;
            reader.skip(u64::from(size))?;
            self.0 = left;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_short_by_what_is_missing_or_malformed_at_the_frames_end() {
        let message = [0, 0, 0, 7, 0, 3, b'a', b'b', b'c', 4, b'x', b'y', b'z'];
        let read = |reader: &mut Reader<'_>| -> Read<(i32, usize, usize)> {
            Ok((reader.i32()?, reader.string(false)?.len(), reader.string(true)?.len()))
        };
        for cut in 0..message.len() {
            let beyond = (message.len() - cut) as u64;
            let mut reader = Reader::new(&message[..cut], beyond, 100);
            match read(&mut reader) {
                Err(Halt::Short) => assert!(reader.missing() > 0 && reader.missing() as u64 <= beyond),
                other => panic!("{cut}: {other:?}"),
            }
            assert_eq!(read(&mut Reader::new(&message[..cut], 0, 100)), Err(Halt::Malformed));
        }
        assert_eq!(read(&mut Reader::new(&message, 0, 100)), Ok((7, 3, 3)));
    }

    #[test]
    fn lengths_are_believed_only_within_frame_and_limit() {
        let mut reader = Reader::new(&[0x7f, 0xff, 1], 40_000, 100);
        assert_eq!(reader.nullable_string(false), Err(Halt::TooLarge));
        let mut reader = Reader::new(&[0x7f, 0xff, 1], 30_000, 100);
        assert_eq!(reader.nullable_string(false), Err(Halt::Malformed));
        let mut reader = Reader::new(&[0xff, 0xfe, 1], 0, 100);
        assert_eq!(reader.nullable_string(false), Err(Halt::Malformed), "-2 is no length");
        let mut reader = Reader::new(&[0, 3, 1, 2, 3], 0, 4);
        assert_eq!(reader.nullable_string(false), Err(Halt::TooLarge), "the limit is the same when all is at hand");
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xfe], 0, 100);
        assert_eq!(reader.count(false), Err(Halt::Malformed));
    }

    #[test]
    fn varints_end_after_32_bits() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f], 0, 9).varint(), Ok(u32::MAX));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0, 9).varint(), Err(Halt::Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0], 0, 9).varint(), Err(Halt::Malformed));
        assert_eq!(Reader::new(&[0x80], 1, 9).varint(), Err(Halt::Short));
        assert_eq!(Reader::new(&[0xac, 0x02], 0, 9).varint(), Ok(300));
    }

    #[test]
    fn a_skip_may_lead_beyond_what_is_at_hand_but_not_beyond_the_frame() {
        let mut reader = Reader::new(&[1, 2, 3], 10, 100);
        assert_eq!(reader.skip(8), Ok(()));
        assert_eq!((reader.debt(), reader.left(), reader.uncommitted()), (5, 5, 0));
        assert_eq!(reader.i64(), Err(Halt::Malformed), "5 bytes are left of the frame");
        assert_eq!(reader.i32(), Err(Halt::Short));
        assert_eq!(Reader::new(&[1, 2, 3], 10, 100).skip(14), Err(Halt::Malformed));
    }

    #[test]
    fn tagged_fields_of_any_number_and_size_are_skipped_one_by_one() {
        let message = [2, 0, 1, 9, 7, 3, 1, 2, 3, 99];
        let mut tags = Tags::default();
        let mut reader = Reader::new(&message, 0, 4);
        assert_eq!(tags.skip(&mut reader), Ok(()));
        assert_eq!((tags, reader.i8()), (Tags(0), Ok(99)));
        let mut reader = Reader::new(&message[..5], 5, 4);
        assert_eq!(tags.skip(&mut reader), Err(Halt::Short));
        assert_eq!((tags, reader.uncommitted()), (Tags(1), 1));
    }
}
