//! The uncompressed size of records whose framing does not tell it.
//!
//! LZ4 need not be decompressed: each sequence of a block says how many literals it has and how many bytes it repeats, so
//! adding up is enough, and costs no more than the input. Zstandard is decompressed into a buffer that is used again and
//! again, up to a limit; it is libzstd that reads what anybody may have sent, with its checks of blocks and windows.

use kafkascope_protocol::Codec;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Missed;

/// Decompressed bytes that are held at a time.
const BUFFER: usize = 64 << 10;

/// The largest window of a Zstandard frame that is decompressed, as a power of two: 8 MiB, that of level 19. A frame that
/// wants more memory (levels for archives) is not measured.
pub(super) const WINDOW_LOG: u32 = 23;

/// Measures, one after another.
pub(super) struct Sizer {
    zstd: Decoder<'static>,
    buffer: Box<[u8]>,
}

/// What measuring came to, and the decompressed bytes that it cost.
pub(super) struct Outcome {
    pub(super) size: Result<u64, Missed>,
    pub(super) output: u64,
}

impl Sizer {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut zstd = Decoder::new()?;
        zstd.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self { zstd, buffer: vec![0; BUFFER].into() })
    }

    /// The size of `records`, with at most `cap` bytes of output.
    pub(super) fn measure(&mut self, codec: Codec, records: &[u8], cap: u64) -> Outcome {
        match codec {
            Codec::Lz4 => Outcome { size: lz4(records).ok_or(Missed::Malformed), output: 0 },
            Codec::Zstd => self.zstd(records, cap),
            // Their framing has told.
            _ => Outcome { size: Err(Missed::Malformed), output: 0 },
        }
    }

    fn zstd(&mut self, records: &[u8], cap: u64) -> Outcome {
        let mut output = 0;
        let size = self.decompress(records, cap, &mut output);
        Outcome { size: size.map(|()| output), output }
    }

    fn decompress(&mut self, records: &[u8], cap: u64, output: &mut u64) -> Result<(), Missed> {
        let malformed = |_| Missed::Malformed;
        self.zstd.reinit().map_err(malformed)?;
        let mut input = InBuffer::around(records);
        loop {
            if *output >= cap {
                return Err(Missed::OutputCap);
            }
            let room = usize::try_from(cap - *output).map_or(BUFFER, |rest| rest.min(BUFFER));
            let room = self.buffer.get_mut(..room).unwrap_or_default();
            let (room_bytes, before) = (room.len(), input.pos());
            let mut buffer = OutBuffer::around(room);
            let missing = self.zstd.run(&mut input, &mut buffer).map_err(malformed)?;
            let written = buffer.pos();
            *output += written as u64;
            if missing == 0 {
                return Ok(());
            }
            if written < room_bytes && input.pos() == records.len() || written == 0 && input.pos() == before {
                // It ends before the frame does.
                return Err(Missed::Malformed);
            }
        }
    }
}

/// Adds up an LZ4 frame. Source: `lz4_Frame_format.md`. `None`: it is none, or broken.
fn lz4(frame: &[u8]) -> Option<u64> {
    const BLOCK_CHECKSUM: u8 = 0b1_0000;
    const CONTENT_SIZE: u8 = 0b1000;
    const DICTIONARY: u8 = 0b1;
    const UNCOMPRESSED: u32 = 1 << 31;
    let (&[_, _, _, _, flags, _block], rest) = frame.split_first_chunk()?;
    let optional = if flags & CONTENT_SIZE != 0 { 8 } else { 0 } + if flags & DICTIONARY != 0 { 4 } else { 0 };
    // With the checksum of the head.
    let mut rest = rest.get(optional + 1..)?;
    let mut size = 0_u64;
    loop {
        let (head, behind) = rest.split_first_chunk()?;
        let head = u32::from_le_bytes(*head);
        if head == 0 {
            return Some(size);
        }
        let (block, behind) = behind.split_at_checked((head & !UNCOMPRESSED) as usize)?;
        size += if head & UNCOMPRESSED != 0 { block.len() as u64 } else { lz4_block(block)? };
        rest = behind.get(if flags & BLOCK_CHECKSUM != 0 { 4 } else { 0 }..)?;
    }
}

/// Adds up a compressed block. Source: `lz4_Block_format.md`.
fn lz4_block(block: &[u8]) -> Option<u64> {
    /// A match has at least so many bytes.
    const LEAST_MATCH: u64 = 4;
    const OFFSET: usize = 2;
    let mut rest = block;
    let mut size = 0_u64;
    loop {
        let (&token, behind) = rest.split_first()?;
        let (literals, behind) = lz4_length(token >> 4, behind)?;
        let behind = behind.get(usize::try_from(literals).ok()?..)?;
        size += literals;
        if behind.is_empty() {
            return Some(size);
        }
        let (repeated, behind) = lz4_length(token & 0x0f, behind.get(OFFSET..)?)?;
        size += repeated + LEAST_MATCH;
        rest = behind;
    }
}

/// A length that begins in half a byte and goes on in whole ones, as long as they are full.
fn lz4_length(half: u8, mut rest: &[u8]) -> Option<(u64, &[u8])> {
    let mut length = u64::from(half);
    if half == 0x0f {
        loop {
            let (&more, behind) = rest.split_first()?;
            length += u64::from(more);
            rest = behind;
            if more < u8::MAX {
                break;
            }
        }
    }
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;

    const CAP: u64 = 16 << 20;

    fn lz4_frame(content: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd_frame(content: &[u8], level: i32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn size(codec: Codec, records: &[u8]) -> Result<u64, Missed> {
        Sizer::new().unwrap().measure(codec, records, CAP).size
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20);
        (words, 0..400_usize).prop_map(|(words, times)| words.concat().repeat(times))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lz4_frames_of_any_kind_add_up(
            content in content(), linked in any::<bool>(), sums in any::<(bool, bool)>(), large in any::<bool>(), told in any::<bool>()
        ) {
            let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
            let block = if large { BlockSize::Max1MB } else { BlockSize::Max64KB };
            let info = FrameInfo::new().block_mode(mode).block_size(block).block_checksums(sums.0).content_checksum(sums.1);
            let info = info.content_size(told.then_some(content.len() as u64));
            let frame = lz4_frame(&content, info);
            prop_assert_eq!(size(Codec::Lz4, &frame), Ok(content.len() as u64));
        }

        #[test]
        fn zstd_frames_of_any_level_are_measured(content in content(), level in -5..20) {
            prop_assert_eq!(size(Codec::Zstd, &zstd_frame(&content, level)), Ok(content.len() as u64));
        }

        #[test]
        fn what_is_broken_is_malformed_or_another_size_but_never_more_than_its_cap(
            content in content(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0..8
        ) {
            let mut sizer = Sizer::new().unwrap();
            for codec in [Codec::Lz4, Codec::Zstd] {
                let whole = if codec == Codec::Lz4 { lz4_frame(&content, FrameInfo::new()) } else { zstd_frame(&content, 3) };
                let torn = &whole[..cut.index(whole.len())];
                prop_assert_eq!(sizer.measure(codec, torn, CAP).size, Err(Missed::Malformed));
                let mut flipped = whole.clone();
                flipped[flip.index(whole.len())] ^= 1_u8 << bit;
                prop_assert!(sizer.measure(codec, &flipped, CAP).output <= CAP);
                // It is as good as new afterwards.
                prop_assert_eq!(sizer.measure(codec, &whole, CAP).size, Ok(content.len() as u64));
            }
        }
    }

    #[test]
    fn a_bomb_of_lz4_costs_no_output_at_all() {
        let bomb = lz4_frame(&vec![0; 200 << 20], FrameInfo::new().block_size(BlockSize::Max4MB));
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let outcome = Sizer::new().unwrap().measure(Codec::Lz4, &bomb, CAP);
        assert_eq!((outcome.size, outcome.output), (Ok(200 << 20), 0));
    }

    /// A frame of as many blocks of 128 KiB of one byte, four bytes each.
    fn zstd_bomb(blocks: usize) -> Vec<u8> {
        // Magic, no size, a window of 1 MiB.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
        const RLE: u32 = 1 << 1;
        for block in 1..=blocks {
            let head = (128 << 10) << 3 | RLE | u32::from(block == blocks);
            bomb.extend(&head.to_le_bytes()[..3]);
            bomb.push(b'x');
        }
        bomb
    }

    #[test]
    fn a_bomb_of_zstd_costs_its_cap_in_output_and_no_more() {
        assert_eq!(size(Codec::Zstd, &zstd_bomb(10)), Ok(10 * (128 << 10)), "it is a frame");
        let bomb = zstd_bomb(80_000);
        assert!(bomb.len() < 1 << 20, "10 GB from {} bytes", bomb.len());
        let mut sizer = Sizer::new().unwrap();
        for cap in [0, 1, 100_000, CAP] {
            let outcome = sizer.measure(Codec::Zstd, &bomb, cap);
            assert_eq!((outcome.size, outcome.output), (Err(Missed::OutputCap), cap));
        }
    }

    #[test]
    fn a_window_for_archives_is_not_allocated() {
        // Windows of 8 MiB and of 16 MiB, then an empty last block that is raw.
        let frame = |window| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 1, 0, 0];
        assert_eq!(size(Codec::Zstd, &frame(13 << 3)), Ok(0));
        assert_eq!(size(Codec::Zstd, &frame(14 << 3)), Err(Missed::Malformed));
    }
}
