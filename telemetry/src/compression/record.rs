//! Records of magic 2 once they are uncompressed: of each its offset and its `traceparent`, all else is passed over.
//!
//! Source of the layout: `org.apache.kafka.common.record.DefaultRecord`. Nothing is kept but the head of one header's
//! value. No length is believed further than its record, no number of headers further than the bytes that are there.

use std::io::{self, BufRead, ErrorKind};

use crate::span::contexts::Context;

/// The name of the header. Source: W3C Trace Context, section 3.2.
const TRACEPARENT: &[u8; 11] = b"traceparent";

/// Reads `count` records and tells the contexts that they carry, each with the record's offset from the batch's base.
pub(super) fn contexts(input: &mut impl BufRead, count: u32, mut found: impl FnMut(i32, Context)) -> io::Result<()> {
    for _ in 0..count {
        let mut head = Part { input: &mut *input, left: VARINT };
        let left = head.length()?.ok_or_else(malformed)?;
        let mut record = Part { input: &mut *input, left };
        if let Some((delta, context)) = record.context()? {
            found(delta, context);
        }
    }
    Ok(())
}

/// Longest variable-length number of 32 bits, in bytes.
const VARINT: u64 = 5;

/// Longest variable-length number, in bytes.
const VARLONG: u32 = 10;

fn malformed() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// A part of the input that ends after so many bytes.
struct Part<'a, R> {
    input: &'a mut R,
    left: u64,
}

impl<R: BufRead> Part<'_, R> {
    /// Offset delta and context of the record that this is. Of two contexts the last one counts, as for consumers
    /// (`Headers.lastHeader`).
    fn context(&mut self) -> io::Result<Option<(i32, Context)>> {
        let _attributes = self.byte()?;
        let _timestamp = self.varint()?;
        let delta = i32::try_from(self.varint()?).ok().ok_or_else(malformed)?;
        // Key and value.
        for _ in 0..2 {
            let length = self.length()?.unwrap_or(0);
            self.skip(length)?;
        }
        let headers = self.length()?.ok_or_else(malformed)?;
        let mut last = None;
        // Each takes at least two bytes of the record, so their number ends with it.
        for _ in 0..headers {
            let key = self.length()?.ok_or_else(malformed)?;
            let is_traceparent = self.is_traceparent(key)?;
            let value = self.length()?.unwrap_or(0);
            if is_traceparent {
                last = self.parsed(value)?;
            } else {
                self.skip(value)?;
            }
        }
        // What a later version may add.
        self.skip(self.left)?;
        Ok(last.map(|context| (delta, context)))
    }

    /// Whether the key of `length` bytes is the one that is looked for.
    fn is_traceparent(&mut self, length: u64) -> io::Result<bool> {
        if length != TRACEPARENT.len() as u64 {
            self.skip(length)?;
            return Ok(false);
        }
        let mut key = [0; TRACEPARENT.len()];
        self.take(&mut key)?;
        Ok(key == *TRACEPARENT)
    }

    /// The context in a value of `length` bytes.
    fn parsed(&mut self, length: u64) -> io::Result<Option<Context>> {
        let mut head = [0; Context::ENOUGH];
        let enough = usize::try_from(length).map_or(head.len(), |length| length.min(head.len()));
        let Some(head) = head.get_mut(..enough) else { return Ok(None) };
        self.take(head)?;
        self.skip(length.saturating_sub(enough as u64))?;
        Ok(Context::parse(head))
    }

    /// A length or a number of things; `None` for -1, which is null.
    fn length(&mut self) -> io::Result<Option<u64>> {
        match self.varint()? {
            -1 => Ok(None),
            length => match u64::try_from(length) {
                Ok(length) if i32::try_from(length).is_ok() => Ok(Some(length)),
                _ => Err(malformed()),
            },
        }
    }

    /// A number as `org.apache.kafka.common.utils.ByteUtils` writes it: zig-zag, seven bits a byte.
    fn varint(&mut self) -> io::Result<i64> {
        let mut number = 0_u64;
        for at in 0..VARLONG {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if at == VARLONG - 1 && bits > 1 {
                break;
            }
            number |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(malformed())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.take(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(malformed)?;
        self.input.read_exact(bytes)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(malformed)?;
        let mut rest = bytes;
        while rest > 0 {
            let there = self.input.fill_buf()?.len();
            if there == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let passed = usize::try_from(rest).map_or(there, |rest| rest.min(there));
            self.input.consume(passed);
            rest -= passed as u64;
        }
        Ok(())
    }
}
