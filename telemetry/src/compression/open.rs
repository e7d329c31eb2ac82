//! Decompresses records to look at them, up to a limit. All decoders read what anybody may have sent: none allocates
//! more than the largest block or window of its codec, whatever length it is told.

use std::io::{self, BufReader, Error, ErrorKind, Read};

use kafkascope_protocol::Codec;

use super::size::WINDOW_LOG;
use super::{Missed, record};
use crate::span::contexts::Expected;

/// Bytes that are decompressed at a time.
const BUFFER: usize = 16 << 10;

/// Snappy writes at most 64 bytes for three.
const SNAPPY_GROWTH: u64 = 64 / 3 + 1;

/// What looking into records came to.
pub(super) struct Opened {
    /// Their uncompressed size.
    pub(super) size: Result<u64, Missed>,
    /// Whether all of them were read.
    pub(super) records: Result<(), Missed>,
    /// Decompressed bytes.
    pub(super) output: u64,
}

/// Looks for contexts in `count` records, with at most `cap` bytes of output.
pub(super) fn open(codec: Codec, bytes: &[u8], count: u32, cap: u64, mut expected: Expected) -> Opened {
    let (decoder, cap): (Box<dyn Read + '_>, _) = match codec {
        Codec::None => (Box::new(bytes), bytes.len() as u64),
        Codec::Gzip => (Box::new(flate2::bufread::GzDecoder::new(bytes)), cap),
        Codec::Snappy => (Box::new(Snappy::new(bytes, cap)), cap),
        Codec::Lz4 => (Box::new(lz4_flex::frame::FrameDecoder::new(bytes)), cap),
        Codec::Zstd => match zstd(bytes) {
            Ok(decoder) => (Box::new(decoder), cap),
            Err(_) => return Opened::malformed(),
        },
        Codec::Unknown(_) => return Opened::malformed(),
    };
    let mut input = BufReader::with_capacity(BUFFER, Capped { decoder, left: cap, output: 0 });
    let records = record::contexts(&mut input, count, |delta, context| expected.note(delta, context)).map_err(missed);
    // Their size counts even if they make no sense.
    let size = io::copy(&mut input, &mut io::sink()).map_err(missed);
    let output = input.get_ref().output;
    if records.is_ok() {
        expected.has_been_read();
    }
    let output_cost = if codec == Codec::None { 0 } else { output };
    Opened { size: size.map(|_rest| output), records, output: output_cost }
}

impl Opened {
    const fn malformed() -> Self {
        Self { size: Err(Missed::Malformed), records: Err(Missed::Malformed), output: 0 }
    }
}

fn missed(error: Error) -> Missed {
    if error.kind() == ErrorKind::FileTooLarge { Missed::OutputCap } else { Missed::Malformed }
}

fn zstd(bytes: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

/// Ends with an error where there is more than so much.
struct Capped<R> {
    decoder: R,
    left: u64,
    output: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            // It may end just here.
            return match self.decoder.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(ErrorKind::FileTooLarge.into()),
            };
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.decoder.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read as u64);
        self.output = self.output.saturating_add(read as u64);
        Ok(read)
    }
}

/// Blocks of Snappy: one, or with xerial's framing many, each behind its length. Source:
/// `org.xerial.snappy.SnappyOutputStream`.
struct Snappy<'a> {
    rest: &'a [u8],
    framed: bool,
    cap: u64,
    block: io::Cursor<Vec<u8>>,
}

impl<'a> Snappy<'a> {
    const MAGIC: &'static [u8] = b"\x82SNAPPY\0";
    /// Magic, version, and the lowest version that can read it.
    const HEAD: usize = 16;

    fn new(bytes: &'a [u8], cap: u64) -> Self {
        let framed = bytes.starts_with(Self::MAGIC);
        let rest = if framed { bytes.get(Self::HEAD..).unwrap_or_default() } else { bytes };
        Self { rest, framed, cap, block: io::Cursor::new(Vec::new()) }
    }

    /// Decompresses the next block, if there is one.
    fn next(&mut self) -> io::Result<()> {
        let malformed = || Error::from(ErrorKind::InvalidData);
        let block = if self.framed {
            let (length, behind) = self.rest.split_first_chunk().ok_or_else(malformed)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (block, rest) = behind.split_at_checked(length).ok_or_else(malformed)?;
            self.rest = rest;
            block
        } else {
            std::mem::take(&mut self.rest)
        };
        let told = snap::raw::decompress_len(block).map_err(Error::other)? as u64;
        if told > (block.len() as u64).saturating_mul(SNAPPY_GROWTH) {
            return Err(malformed());
        }
        if told > self.cap {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.cap -= told;
        let output = snap::raw::Decoder::new().decompress_vec(block).map_err(Error::other)?;
        self.block = io::Cursor::new(output);
        Ok(())
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(buffer)?;
            if read > 0 || self.rest.is_empty() {
                return Ok(read);
            }
            self.next()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::span::contexts::Contexts;

    const CAP: u64 = 1 << 20;

    fn compressed(codec: Codec, content: &[u8]) -> Vec<u8> {
        match codec {
            Codec::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(content).unwrap(),
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(content, 3).unwrap(),
        }
    }

    fn opened(codec: Codec, bytes: &[u8], cap: u64) -> Opened {
        let contexts = Arc::new(Contexts::default());
        open(codec, bytes, 3, cap, contexts.expect(0, 0, 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_broken_is_no_panic_and_costs_no_more_than_its_cap(
            word in prop::collection::vec(any::<u8>(), 1..300), times in 1..2_000_usize,
            cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0..8, cap in 0..CAP
        ) {
            let content = word.repeat(times);
            for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
                let whole = compressed(codec, &content);
                let fits = content.len() as u64 <= CAP;
                prop_assert_eq!(opened(codec, &whole, CAP).size, fits.then_some(content.len() as u64).ok_or(Missed::OutputCap));
                prop_assert!(opened(codec, &whole[..cut.index(whole.len())], cap).output <= cap);
                let mut flipped = whole;
                let at = flip.index(flipped.len());
                flipped[at] ^= 1_u8 << bit;
                prop_assert!(opened(codec, &flipped, cap).output <= cap);
            }
        }
    }
}
