//! What the framing of compressed records tells of their uncompressed size.
//!
//! Sources: RFC 1952 (gzip), `format_description.txt` and the framing of `org.xerial.snappy` (Snappy), `lz4_Frame_format.md`
//! (LZ4), RFC 8878 (Zstandard).

use crate::{
    Codec,
    reader::{Edge, Reader},
};

/// Bytes of gzip's last field, the uncompressed size modulo 2^32.
pub(super) const GZIP_SIZE: usize = 4;
/// The longest start that is looked at: a Zstandard frame header (magic 4, descriptor 1, window 1, dictionary 4, size 8).
pub(super) const START: usize = 18;
/// The longest varint before a block of Snappy: 32 bits.
pub(super) const PREAMBLE: usize = 5;
/// Magic, version, and lowest version that is compatible.
pub(super) const XERIAL_HEAD: usize = 16;
/// The length before each block.
pub(super) const XERIAL_LENGTH: usize = 4;

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const LZ4_MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// The shortest record (`DefaultRecord`): seven fields of a byte each.
const SHORTEST_RECORD: u64 = 7;

/// What the first bytes of compressed records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The uncompressed size.
    Told(u64),
    /// xerial's framing of Snappy: the blocks tell.
    Blocks,
    /// That this is the codec, but not how large its content is.
    Untold,
    /// That this is not what the batch's head says.
    Foreign,
}

/// Looks at the first [`START`] bytes of `records` bytes, or at all when there are fewer.
pub(super) fn start(codec: Codec, start: &[u8], records: u64) -> Start {
    match codec {
        Codec::None => Start::Told(records),
        Codec::Snappy if start.starts_with(XERIAL_MAGIC) && start.len() >= XERIAL_HEAD => Start::Blocks,
        Codec::Snappy => preamble(start).map_or(Start::Foreign, |size| Start::Told(u64::from(size))),
        Codec::Lz4 => lz4(start).unwrap_or(Start::Foreign),
        Codec::Zstd => zstd(start).unwrap_or(Start::Foreign),
        // gzip tells at the end; this one is too short for that.
        Codec::Gzip | Codec::Unknown(_) => Start::Foreign,
    }
}

/// The varint before a block of Snappy.
pub(super) fn preamble(bytes: &[u8]) -> Option<u32> {
    // Written as Kafka writes its own.
    let mut edge = Edge::new(bytes.len(), 0);
    let mut reader = Reader::new(bytes, &mut edge);
    let size = reader.varint();
    reader.commit().ok().map(|()| size)
}

/// `None`: this is no frame.
fn lz4(start: &[u8]) -> Option<Start> {
    const VERSION: u8 = 0b1100_0000;
    const VERSION_1: u8 = 0b0100_0000;
    const HAS_SIZE: u8 = 0b1000;
    let ([flags, _block], rest) = start.strip_prefix(&LZ4_MAGIC)?.split_first_chunk()?;
    if flags & VERSION != VERSION_1 {
        return None;
    }
    if flags & HAS_SIZE == 0 {
        return Some(Start::Untold);
    }
    rest.first_chunk().map(|size| Start::Told(u64::from_le_bytes(*size)))
}

/// `None`: this is no frame.
fn zstd(start: &[u8]) -> Option<Start> {
    const SINGLE_SEGMENT: u8 = 0b10_0000;
    let (&descriptor, rest) = start.strip_prefix(&ZSTD_MAGIC)?.split_first()?;
    let is_single = descriptor & SINGLE_SEGMENT != 0;
    let dictionary = match descriptor & 0b11 {
        0 => 0usize,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let rest = rest.get(usize::from(!is_single)..)?.get(dictionary..)?;
    Some(match descriptor >> 6 {
        0 if !is_single => Start::Untold,
        0 => Start::Told(u64::from(*rest.first()?)),
        // Of two bytes the values begin behind those of one.
        1 => Start::Told(u64::from(u16::from_le_bytes(*rest.first_chunk()?)).saturating_add(256)),
        2 => Start::Told(u64::from(u32::from_le_bytes(*rest.first_chunk()?))),
        _ => Start::Told(u64::from_le_bytes(*rest.first_chunk()?)),
    })
}

/// Whether `records` bytes can be `count` records of `uncompressed` bytes in all.
pub(super) fn is_plausible(codec: Codec, count: Option<u32>, records: u64, uncompressed: u64) -> bool {
    // The most that one byte can stand for.
    let most: u64 = match codec {
        Codec::None => 1,
        // A match of 258 bytes takes two bits.
        Codec::Gzip => 1_032,
        // A copy of 64 bytes takes three.
        Codec::Snappy => 22,
        // A byte of a match's length is at most 255.
        Codec::Lz4 => 255,
        // A block of 128 KiB takes four bytes.
        Codec::Zstd => 32_768,
        Codec::Unknown(_) => 0,
    };
    let least = u64::from(count.unwrap_or(0)).saturating_mul(SHORTEST_RECORD).max(1);
    (least..=records.saturating_mul(most)).contains(&uncompressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LZ4: [u8; 6] = [0x04, 0x22, 0x4d, 0x18, 0x68, 0x40];

    #[test]
    fn a_snappy_preamble_ends_within_32_bits() {
        for (bytes, size) in [
            (&[0x05][..], Some(5)),
            (&[0x80, 0x80, 0x02, 9], Some(32_768)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0xff, 0xff, 0xff, 0xff, 0x8f, 0], None),
            (&[0x80, 0x80], None),
            (&[], None),
        ] {
            assert_eq!(preamble(bytes), size, "{bytes:?}");
        }
    }

    #[test]
    fn an_lz4_frame_tells_its_size_only_with_the_flag() {
        let told = [&LZ4[..], &7_000u64.to_le_bytes(), &[0]].concat();
        assert_eq!(start(Codec::Lz4, &told, 99), Start::Told(7_000));
        let untold = [&LZ4[..4], &[0x60, 0x40, 0x82]].concat();
        assert_eq!(start(Codec::Lz4, &untold, 99), Start::Untold);
        let newer = [&LZ4[..4], &[0xa0, 0x40, 0x82]].concat();
        assert_eq!(start(Codec::Lz4, &newer, 99), Start::Foreign);
        for cut in 0..14 {
            assert_eq!(start(Codec::Lz4, &told[..cut], 99), Start::Foreign, "{cut}");
        }
    }

    #[test]
    fn a_zstd_frame_tells_its_size_in_one_of_four_widths_behind_window_and_dictionary() {
        let frame = |rest: &[u8]| [&ZSTD_MAGIC[..], rest].concat();
        let told = |rest: &[u8]| start(Codec::Zstd, &frame(rest), 99);
        assert_eq!(told(&[0x20, 200]), Start::Told(200));
        assert_eq!(told(&[0x00, 0x58, 1]), Start::Untold);
        assert_eq!(told(&[0x40, 0x58, 1, 0]), Start::Told(257));
        assert_eq!(told(&[0x62, 9, 9, 1, 0]), Start::Told(257), "a dictionary id of two bytes, and no window");
        assert_eq!(told(&[0x83, 0x58, 9, 9, 9, 9, 1, 2, 0, 0]), Start::Told(513));
        assert_eq!(told(&[0xe0, 1, 0, 0, 0, 0, 0, 0, 1]), Start::Told((1 << 56) + 1));
        let longest = frame(&[0xc3, 0x58, 9, 9, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(longest.len(), START);
        for cut in 0..START {
            assert_eq!(start(Codec::Zstd, &longest[..cut], 99), Start::Foreign, "{cut}");
        }
    }

    #[test]
    fn a_size_that_the_codec_cannot_reach_or_that_holds_no_record_is_not_believed() {
        assert!(is_plausible(Codec::Snappy, Some(10), 100, 70));
        assert!(!is_plausible(Codec::Snappy, Some(10), 100, 69));
        assert!(!is_plausible(Codec::Snappy, Some(0), 100, 0));
        assert!(is_plausible(Codec::Snappy, Some(1), 100, 2_200));
        assert!(!is_plausible(Codec::Snappy, Some(1), 100, 2_201));
        assert!(!is_plausible(Codec::Zstd, Some(u32::MAX), u64::MAX, 1));
    }
}
