//! The uncompressed size of batches: real compressors, real framings, any chunking, and framings that lie.

mod support;

use std::io::Write;

use Unmeasured::{Implausible, Untold};
use kafkascope_protocol::{BatchHead, BatchPlan, Codec, Depth, Direction, Limits, Observation, Unmeasured};
use proptest::prelude::*;
use support::conversation::{Turn, say};
use support::feed::{BUDGET, Feed, Opaque, Pieces, observed};
use support::log::{Arena, Log};
use support::random::Random;
use support::wire::{Batch, produce_v3};

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Size(Result<u64, Unmeasured>),
    Captured(Vec<u8>),
}

/// Records of up to so many bytes are captured if they do not tell.
const CAPTURE: u32 = 30_000;

fn measure(_: &BatchHead) -> BatchPlan {
    BatchPlan::Measure { capture: CAPTURE }
}

fn seen(log: &Log<'_>) -> Vec<Seen> {
    let seen = log.facts.iter().filter_map(|fact| match fact {
        Observation::Measured(it) => Some(Seen::Size(it.uncompressed)),
        Observation::Captured(it) => Some(Seen::Captured(it.bytes.to_vec())),
        _ => None,
    });
    seen.collect()
}

fn batch(codec: i16, records: Vec<u8>) -> Batch {
    Batch { attributes: codec, records, ..Batch::default() }
}

fn produced(batches: &[Batch]) -> Vec<u8> {
    produce_v3(1, 1, &batches.iter().flat_map(Batch::encode).collect::<Vec<_>>())
}

/// What is seen of one batch.
fn seen_of(batch: &Batch) -> Seen {
    let arena = Arena::default();
    let mut feed = Feed::with_plan(&arena, measure);
    feed.request(&produced(std::slice::from_ref(batch)));
    assert!(!feed.log.facts.iter().any(|fact| matches!(fact, Observation::Undecoded(_))), "the frame goes on");
    let [seen] = &seen(&feed.log)[..] else { panic!("{:?}", feed.log.facts) };
    seen.clone()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn snappy(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).expect("short enough")
}

/// As Java's clients and kafka-python send it.
fn xerial(content: &[u8], block: usize) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in content.chunks(block) {
        let compressed = snappy(block);
        framed.extend((compressed.len() as u32).to_be_bytes());
        framed.extend(compressed);
    }
    framed
}

fn lz4(content: &[u8], size: Option<u64>) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_size(size);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zstd(content: &[u8], tells: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("a level");
    encoder.set_pledged_src_size(tells.then_some(content.len() as u64)).expect("not begun");
    encoder.include_contentsize(tells).expect("not begun");
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Compressible, but not to nothing.
fn content(random: &mut Random) -> Vec<u8> {
    let longest = [300, 5_000, 200_000][random.below(3)];
    let length = 7 + random.below(longest);
    let word = random.bytes(20);
    let mut content: Vec<u8> = word.iter().copied().cycle().take(length).collect();
    for _ in 0..length / 10 {
        content[random.below(length)] = random.below(256) as u8;
    }
    content
}

/// A batch in one of the ways clients compress, and what must be seen of it.
fn compressed(random: &mut Random) -> (Batch, Seen) {
    let content = content(random);
    let size = content.len() as u64;
    let untold = |records: &[u8]| {
        if records.len() <= CAPTURE as usize { Seen::Captured(records.to_vec()) } else { Seen::Size(Err(Untold)) }
    };
    match random.below(8) {
        0 => (batch(0, content), Seen::Size(Ok(size))),
        1 => (batch(1, gzip(&content)), Seen::Size(Ok(size))),
        2 => (batch(2, snappy(&content)), Seen::Size(Ok(size))),
        3 => {
            let block = [1, 3, 100, 32 << 10][random.below(4)];
            // At one byte a block of a long content most of the time would go here.
            let content = &content[..content.len().min(block * 300)];
            let count = i32::from(content.len() >= 7);
            let batch = Batch { count, ..batch(2, xerial(content, block)) };
            (batch, Seen::Size(Ok(content.len() as u64)))
        }
        4 => (batch(3, lz4(&content, Some(size))), Seen::Size(Ok(size))),
        5 => {
            let records = lz4(&content, None);
            (batch(3, records.clone()), untold(&records))
        }
        6 => (batch(4, zstd(&content, true)), Seen::Size(Ok(size))),
        _ => {
            let records = zstd(&content, false);
            (batch(4, records.clone()), untold(&records))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sizes_are_the_real_ones_in_any_chunks_opaque_or_shown(seed in any::<u64>(), cuts in any::<u64>()) {
        let mut random = Random::new(seed);
        let (batches, expected): (Vec<_>, Vec<_>) = (0..6).map(|_| compressed(&mut random)).unzip();
        let mut turns = Vec::new();
        say(&mut turns, Direction::Request, &produced(&batches));
        for (pieces, opaque) in [
            (Pieces::Whole, Opaque::Shown),
            (Pieces::Single, Opaque::Shown),
            (Pieces::Single, Opaque::Announced),
            (Pieces::Random, Opaque::Announced),
            (Pieces::Random, Opaque::Mixed),
        ] {
            let arena = Arena::default();
            let feed = observed(&arena, measure, &turns, pieces, opaque, cuts);
            prop_assert_eq!(&seen(&feed.log), &expected, "{:?} {:?}", pieces, opaque);
        }
    }

    /// Whatever is torn or invented: one answer a batch, the same in any chunks, and the frame is read to its end.
    #[test]
    fn broken_framings_tell_one_thing_a_batch_whatever_the_chunks(seed in any::<u64>(), cuts in any::<u64>()) {
        let mut random = Random::new(seed);
        let broken = |random: &mut Random| {
            let (mut batch, _) = compressed(random);
            let length = batch.records.len();
            match random.below(3) {
                0 => batch.records.truncate(random.below(length + 1)),
                1 => {
                    let at = random.below(length.min(40));
                    batch.records[at] = random.below(256) as u8;
                }
                _ => {
                    let at = random.below(length);
                    batch.records[at] ^= 1 << random.below(8);
                }
            }
            batch
        };
        let batches: Vec<_> = (0..5).map(|_| broken(&mut random)).collect();
        let mut turns = Vec::new();
        say(&mut turns, Direction::Request, &produced(&batches));
        let arena = Arena::default();
        let whole = observed(&arena, measure, &turns, Pieces::Whole, Opaque::Shown, 0);
        let expected = seen(&whole.log);
        prop_assert_eq!(expected.len(), batches.len());
        prop_assert!(!whole.log.facts.iter().any(|fact| matches!(fact, Observation::Undecoded(_))));
        for (pieces, opaque) in [(Pieces::Single, Opaque::Announced), (Pieces::Random, Opaque::Mixed)] {
            let feed = observed(&arena, measure, &turns, pieces, opaque, cuts);
            prop_assert_eq!(&seen(&feed.log), &expected, "{:?} {:?}", pieces, opaque);
        }
    }
}

/// The forwarder may splice what is announced: all but what the framing tells sizes in.
#[test]
fn only_the_framing_is_looked_at() {
    let content = Random::new(5).bytes(100_000);
    for (codec, records, framing) in [
        (1, gzip(&content), 4),
        (2, snappy(&content), 18),
        (2, xerial(&content, 32 << 10), 18 + 4 * (4 + 5)),
        (3, lz4(&content, Some(100_000)), 18),
        (4, zstd(&content, true), 18),
        (4, zstd(&content, false), 18),
    ] {
        let arena = Arena::default();
        let mut feed = Feed::with_plan(&arena, measure);
        let request = produced(&[batch(codec, records.clone())]);
        let turn = Turn { direction: Direction::Request, bytes: request.clone() };
        feed.play(&[turn], Pieces::Single, Opaque::Announced, &mut Random::new(0));
        let head = request.len() - records.len();
        assert!(feed.shown <= (head + framing) as u64, "{codec}: {} shown of {}", feed.shown, request.len());
    }
}

#[test]
fn a_batch_without_codec_measures_itself_and_other_kinds_tell_nothing() {
    assert_eq!(seen_of(&batch(0, vec![1; 99])), Seen::Size(Ok(99)));
    assert_eq!(seen_of(&batch(6, vec![1; 99])), Seen::Size(Err(Implausible)), "no codec of Kafka's");
    let arena = Arena::default();
    let mut feed = Feed::with_plan(&arena, measure);
    let mut old = batch(1, gzip(&[1; 99])).encode();
    // Where magic 2 has its CRC, magic 1 has its attributes.
    (old[16], old[17]) = (1, 1);
    feed.request(&produce_v3(1, 1, &old));
    assert_eq!(seen(&feed.log), [], "before magic 2");
    assert!(feed.log.asked.iter().any(|head| head.magic == 1 && head.codec() == Codec::Gzip));
}

#[test]
fn torn_xerial_frames_and_lying_preambles_are_not_believed() {
    let content = vec![7; 1_000];
    let good = xerial(&content, 100);
    assert_eq!(seen_of(&batch(2, good.clone())), Seen::Size(Ok(1_000)));
    let changed = |at: usize, bytes: &[u8]| {
        let mut records = good.clone();
        records[at..at + bytes.len()].copy_from_slice(bytes);
        records
    };
    for (what, records) in [
        ("a block longer than the batch", changed(16, &[0, 1, 0, 0])),
        ("a negative length", changed(16, &[0xff, 0xff, 0xff, 0xff])),
        ("an empty block", changed(16, &[0, 0, 0, 0])),
        ("a preamble without end", changed(20, &[0xff; 5])),
        ("a preamble of 4 GiB", changed(20, &[0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("an end within a block", good[..good.len() - 1].to_vec()),
        ("an end within a length", [&good[..], &[0, 0]].concat()),
        ("nothing behind the head", good[..16].to_vec()),
        ("an end within the head", good[..12].to_vec()),
        ("a raw preamble of 4 GiB", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]),
        ("nothing at all", Vec::new()),
    ] {
        assert_eq!(seen_of(&batch(2, records)), Seen::Size(Err(Implausible)), "{what}");
    }
    let many = Batch { count: 143, ..batch(2, good) };
    assert_eq!(seen_of(&many), Seen::Size(Err(Implausible)), "143 records do not fit into 1,000 bytes");
}

#[test]
fn other_codecs_are_not_believed_what_they_cannot_reach() {
    let content = vec![7; 1_000];
    let mut bomb = gzip(&content);
    let end = bomb.len();
    bomb[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut zero = gzip(&content);
    zero[end - 4..].fill(0);
    for (what, codec, records) in [
        ("gzip of 4 GiB", 1, bomb),
        ("gzip of nothing", 1, zero),
        ("three bytes of gzip", 1, vec![0x1f, 0x8b, 8]),
        (
            "lz4 of 2^60",
            3,
            lz4(&[], None).iter().copied().take(4).chain([0x68, 0x40]).chain((1u64 << 60).to_le_bytes()).collect(),
        ),
        ("zstd of 2^60", 4, [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 60).to_le_bytes()].concat()),
        ("lz4 that is zstd", 3, zstd(&content, true)),
        ("zstd that is lz4", 4, lz4(&content, None)),
    ] {
        assert_eq!(seen_of(&batch(codec, records)), Seen::Size(Err(Implausible)), "{what}");
    }
}

/// A batch of which only decompression tells is captured as a whole or not at all, and never beyond the budget.
#[test]
fn an_untold_size_costs_a_capture_within_its_bounds() {
    let records = zstd(&Random::new(1).bytes(20_000), false);
    assert_eq!(seen_of(&batch(4, records.clone())), Seen::Captured(records.clone()));
    let long = zstd(&Random::new(1).bytes(40_000), false);
    assert_eq!(seen_of(&batch(4, long)), Seen::Size(Err(Untold)));
    let arena = Arena::default();
    let mut feed = Feed::with(Limits::default(), Depth::Full, 100, Log::with_plan(&arena, measure));
    feed.request(&produced(&[batch(4, records)]));
    assert!(feed.log.facts.iter().any(|fact| matches!(fact, Observation::CaptureRefused { bytes: 20_000.. })));
    assert_eq!((seen(&feed.log), feed.budget.available()), (Vec::new(), 100));
    const { assert!(BUDGET > CAPTURE as usize) };
}
