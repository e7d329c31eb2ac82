//! The record batches of one partition: their heads are read, their records are skipped, or [`opened`] as the sink wishes.
//!
//! Source of the layouts: `org.apache.kafka.common.record.DefaultRecordBatch` (magic 2) and `LegacyRecord` (0 and 1).

use crate::{
    BatchHead, BatchPlan, Codec, Direction, Observation, PartitionBatch, Sink,
    body::{Context, opened},
    reader::{Halt, Read, Reader},
    topics::Topic,
};

/// Offset, length, leader epoch or CRC, and the magic byte that tells the rest: the same in all formats.
const LEAD: usize = 17;
const HEAD_V0: usize = 18;
const HEAD_V1: usize = 26;
const HEAD_V2: usize = 61;
/// Bytes of a batch that its length field does not count: offset and length.
const UNCOUNTED: u64 = 12;
/// Shortest messages (no key, no value) and batch (no records) behind offset and length.
const SHORTEST_V0: u64 = 14;
const SHORTEST_V1: u64 = 22;
const SHORTEST_V2: u64 = 49;

/// Where the batches belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) direction: Direction,
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) fetch_offset: Option<i64>,
    /// Whether some of them may belong to aborted transactions.
    pub(crate) has_aborted: bool,
}

/// The walk over one partition's batches. Finished as long as it is not begun.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Records {
    left: u64,
}

impl Records {
    /// A partition with batches of `bytes` bytes begins.
    #[inline]
    pub(crate) fn begin(&mut self, bytes: u32) {
        self.left = u64::from(bytes);
    }

    #[inline(always)]
    pub(crate) fn walk<S: Sink>(
        &mut self,
        place: Place,
        reader: &mut Reader<'_, '_>,
        context: &mut Context<'_, S>,
    ) -> Read<()> {
        if context.scratch.opened.is_some() {
            reader.with_copy(|copy| opened::go_on(place, copy, context))?;
        }
        while self.left > 0 {
            let Some((head, read)) = head(self.left, place.direction, reader)? else {
                self.left = 0;
                break;
            };
            let batch = self.left.min(head.bytes);
            self.left = self.left.wrapping_sub(batch);
            let facts = PartitionBatch {
                seq: context.entry.exchange.seq,
                topic: context.memory.topics.describe(place.topic),
                partition: place.partition,
                fetch_offset: place.fetch_offset,
                aborted: place.has_aborted && context.scratch.aborted.covers(&head),
                head,
            };
            context.sink.observe(match place.direction {
                Direction::Request => Observation::ProduceBatch(facts),
                Direction::Response => Observation::FetchBatch(facts),
            });
            let records = batch.wrapping_sub(read);
            match context.sink.at_batch(place.direction, &head) {
                BatchPlan::Skip => reader.skip(records)?,
                plan => reader.with_copy(|copy| opened::open(head, plan, records, place, copy, context))?,
            }
        }
        Ok(())
    }
}

/// Reads the next batch's head, of `left` bytes that are left, and says how long it was. `None`: what is left is too short
/// for one, and is skipped.
#[inline(always)]
fn head(left: u64, direction: Direction, reader: &mut Reader<'_, '_>) -> Read<Option<(BatchHead, u64)>> {
    if left >= HEAD_V2 as u64
        && let Some(bytes) = reader.peek::<HEAD_V2>()
        && magic(bytes) == 2
    {
        reader.fixed::<HEAD_V2>();
        return checked(batch_head(bytes)?, HEAD_V2, left, direction);
    }
    reader.with_copy(|copy| rare_head(left, direction, copy))
}

#[cold]
#[inline(never)]
fn rare_head(left: u64, direction: Direction, reader: &mut Reader<'_, '_>) -> Read<Option<(BatchHead, u64)>> {
    if left < LEAD as u64 {
        return partial_head(left, direction, reader);
    }
    let Some(lead) = reader.peek::<LEAD>() else { return Err(reader.lacks::<LEAD>()) };
    let length = match magic(lead) {
        0 => HEAD_V0,
        1 => HEAD_V1,
        2 => HEAD_V2,
        _ => return Err(Halt::Malformed),
    };
    if left < length as u64 {
        return partial_head(left, direction, reader);
    }
    let head = match length {
        HEAD_V2 => match reader.peek() {
            Some(bytes) => batch_head(bytes)?,
            None => return Err(reader.lacks::<HEAD_V2>()),
        },
        HEAD_V1 => match reader.peek() {
            Some(bytes) => message_head::<HEAD_V1>(bytes)?,
            None => return Err(reader.lacks::<HEAD_V1>()),
        },
        _ => match reader.peek() {
            Some(bytes) => message_head::<HEAD_V0>(bytes)?,
            None => return Err(reader.lacks::<HEAD_V0>()),
        },
    };
    reader.budgeted(length);
    checked(head, length, left, direction)
}

/// A Fetch response may end within a batch; a Produce request may not.
#[inline(always)]
fn checked(mut head: BatchHead, length: usize, left: u64, direction: Direction) -> Read<Option<(BatchHead, u64)>> {
    if head.bytes > left {
        if direction == Direction::Request {
            return Err(Halt::Malformed);
        }
        head.partial = true;
    }
    Ok(Some((head, length as u64)))
}

fn partial_head(left: u64, direction: Direction, reader: &mut Reader<'_, '_>) -> Read<Option<(BatchHead, u64)>> {
    if direction == Direction::Request {
        return Err(Halt::Malformed);
    }
    reader.skip(left)?;
    Ok(None)
}

/// The byte that tells the format.
#[inline(always)]
fn magic<const N: usize>(head: &[u8; N]) -> i8 {
    i8::from_be_bytes(field(head, 16))
}

/// The field at `at`, which lies within the head: both are constants.
#[inline(always)]
fn field<const N: usize, const M: usize>(head: &[u8; N], at: usize) -> [u8; M] {
    head.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; M])
}

/// Size of the batch from its length field, which must count at least `shortest` bytes.
#[inline(always)]
fn size(length: i32, shortest: u64) -> Read<u64> {
    match u64::try_from(length) {
        Ok(length) if length >= shortest => Ok(length.wrapping_add(UNCOUNTED)),
        _ => Err(Halt::Malformed),
    }
}

#[inline(always)]
fn batch_head(bytes: &[u8; HEAD_V2]) -> Read<BatchHead> {
    let mut head = BatchHead {
        magic: 2,
        base_offset: i64::from_be_bytes(field(bytes, 0)),
        bytes: size(i32::from_be_bytes(field(bytes, 8)), SHORTEST_V2)?,
        attributes: i16::from_be_bytes(field(bytes, 21)),
        last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
        base_timestamp: i64::from_be_bytes(field(bytes, 27)),
        max_timestamp: i64::from_be_bytes(field(bytes, 35)),
        producer_id: i64::from_be_bytes(field(bytes, 43)),
        producer_epoch: i16::from_be_bytes(field(bytes, 51)),
        base_sequence: i32::from_be_bytes(field(bytes, 53)),
        records: u32::try_from(i32::from_be_bytes(field(bytes, 57))).ok(),
        partial: false,
    };
    if head.records.is_none() {
        return Err(Halt::Malformed);
    }
    if head.has_delete_horizon() {
        head.base_timestamp = -1;
    }
    Ok(head)
}

fn message_head<const N: usize>(bytes: &[u8; N]) -> Read<BatchHead> {
    let (magic, [attributes]) = (magic(bytes), field(bytes, 17));
    let (shortest, timestamp) = match magic {
        0 => (SHORTEST_V0, -1),
        _ => (SHORTEST_V1, i64::from_be_bytes(field(bytes, HEAD_V0))),
    };
    let mut head = BatchHead {
        magic,
        base_offset: i64::from_be_bytes(field(bytes, 0)),
        bytes: size(i32::from_be_bytes(field(bytes, 8)), shortest)?,
        attributes: i16::from(attributes),
        last_offset_delta: 0,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records: None,
        partial: false,
    };
    if head.codec() == Codec::None {
        head.records = Some(1);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{CaptureBudget, Connection, Depth, Limits, Outcome, Timestamp};

    /// Batch heads, what was kept, and whether the exchange is over.
    #[derive(Default)]
    struct Seen {
        plan: Option<BatchPlan>,
        heads: Vec<BatchHead>,
        kept: Vec<Vec<u8>>,
        refused: u32,
        undecoded: u32,
        answered: bool,
    }

    impl Sink for Seen {
        fn observe(&mut self, observation: Observation<'_>) {
            match observation {
                Observation::FetchBatch(batch) | Observation::ProduceBatch(batch) => self.heads.push(batch.head),
                Observation::Captured(captured) => self.kept.push(captured.bytes.to_vec()),
                Observation::CaptureRefused { .. } => self.refused += 1,
                Observation::Undecoded(_) => self.undecoded += 1,
                Observation::Exchange(exchange) => self.answered = exchange.outcome == Outcome::Answered,
                _ => {}
            }
        }

        fn at_batch(&mut self, _direction: Direction, _head: &BatchHead) -> BatchPlan {
            self.plan.unwrap_or(BatchPlan::Skip)
        }
    }

    /// A batch of three records in `records` bytes, gzip, at offset 7.
    fn batch(records: &[u8]) -> Vec<u8> {
        let mut bytes = 7i64.to_be_bytes().to_vec();
        bytes.extend((49 + records.len() as i32).to_be_bytes());
        bytes.extend([0, 0, 0, 5, 2, 1, 2, 3, 4]);
        bytes.extend(1i16.to_be_bytes());
        bytes.extend(2i32.to_be_bytes());
        bytes.extend(1_000i64.to_be_bytes());
        bytes.extend(1_500i64.to_be_bytes());
        bytes.extend(99i64.to_be_bytes());
        bytes.extend(3i16.to_be_bytes());
        bytes.extend(4i32.to_be_bytes());
        bytes.extend(3i32.to_be_bytes());
        bytes.extend(records);
        bytes
    }

    /// A message of magic 0 or 1 at offset 8 whose key and value take 10 bytes.
    fn message(magic: u8, attributes: u8) -> Vec<u8> {
        let timestamp: &[u8] = if magic == 0 { &[] } else { &[0, 0, 0, 0, 0, 0, 7, 8] };
        let mut bytes = 8i64.to_be_bytes().to_vec();
        bytes.extend((6 + timestamp.len() as i32 + 10).to_be_bytes());
        bytes.extend([1, 2, 3, 4, magic, attributes]);
        bytes.extend(timestamp);
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, b'h', b'i']);
        bytes
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    /// A Fetch v4 of one partition is answered with `records`, in reads of `piece` bytes.
    fn fetched(records: &[u8], plan: BatchPlan, budget: &CaptureBudget, piece: usize) -> Seen {
        let request = [
            &[0, 1, 0, 4, 0, 0, 0, 9, 0xff, 0xff][..],
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0],
            &[0, 0, 0, 0],
        ];
        let mut response = [0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1].to_vec();
        response.extend([0, 0, 0, 0, 0, 0]);
        response.extend([0; 16]);
        response.extend([0xff, 0xff, 0xff, 0xff]);
        response.extend((records.len() as u32).to_be_bytes());
        response.extend(records);
        let mut seen = Seen { plan: Some(plan), ..Seen::default() };
        let mut connection = Connection::new(Limits::default(), Depth::Full, budget.clone());
        connection.on_bytes(Direction::Request, Timestamp(1), &frame(&request.concat()), &mut seen);
        let response = frame(&response);
        for piece in response.chunks(piece) {
            connection.on_bytes(Direction::Response, Timestamp(2), piece, &mut seen);
        }
        connection.on_written(Direction::Response, Timestamp(3), response.len() as u64, &mut seen);
        assert!(seen.answered);
        seen
    }

    #[test]
    fn a_batch_head_is_read_field_by_field() {
        let head = BatchHead {
            magic: 2,
            base_offset: 7,
            bytes: 61 + 5,
            attributes: 1,
            last_offset_delta: 2,
            base_timestamp: 1_000,
            max_timestamp: 1_500,
            producer_id: 99,
            producer_epoch: 3,
            base_sequence: 4,
            records: Some(3),
            partial: false,
        };
        let records = [batch(b"hello"), batch(b"hello")].concat();
        for piece in [1, 3, 60, 61, 62, 1_000] {
            let seen = fetched(&records, BatchPlan::Skip, &CaptureBudget::default(), piece);
            assert_eq!((seen.heads, seen.undecoded), (vec![head, head], 0), "{piece}");
        }
        assert_eq!(head.codec(), Codec::Gzip);
    }

    #[test]
    fn messages_of_old_formats_are_told_one_by_one() {
        let records = [message(0, 0), message(1, 0), message(1, 2)].concat();
        for piece in [1, 17, 18, 26, 1_000] {
            let seen = fetched(&records, BatchPlan::Skip, &CaptureBudget::default(), piece);
            let heads: Vec<_> =
                seen.heads.iter().map(|it| (it.magic, it.bytes, it.records, it.max_timestamp)).collect();
            assert_eq!(heads, [(0, 28, Some(1), -1), (1, 36, Some(1), 0x708), (1, 36, None, 0x708)], "{piece}");
            assert_eq!(seen.undecoded, 0);
        }
    }

    #[test]
    fn a_fetch_may_end_anywhere_within_a_batch() {
        for (last, head) in [(batch(b"hello"), HEAD_V2), (message(0, 0), HEAD_V0), (message(1, 0), HEAD_V1)] {
            for cut in 0..last.len() {
                let records = [&batch(b"hello")[..], &last[..cut]].concat();
                let seen = fetched(&records, BatchPlan::Skip, &CaptureBudget::default(), 1_000);
                assert_eq!(seen.heads.len(), if cut < head { 1 } else { 2 }, "{cut}");
                assert!(seen.heads.iter().skip(1).all(|head| head.partial && head.bytes == last.len() as u64));
                assert_eq!(seen.undecoded, 0, "{cut}");
            }
        }
    }

    #[test]
    fn impossible_lengths_and_unknown_formats_end_the_walk() {
        let mut short = batch(b"");
        short[11] = 48;
        let mut negative = batch(b"");
        negative[8] = 0x80;
        let mut unknown = batch(b"");
        unknown[16] = 3;
        let mut fewer = batch(b"");
        fewer[57] = 0xff;
        for records in [short, negative, unknown, fewer] {
            let seen = fetched(&records, BatchPlan::Skip, &CaptureBudget::default(), 1_000);
            assert_eq!((seen.heads.len(), seen.undecoded), (0, 1));
        }
    }

    #[test]
    fn what_the_sink_asked_for_is_kept_whatever_the_pieces() {
        let records = [batch(b"hello"), batch(b"big world")].concat();
        for (plan, kept) in [
            (BatchPlan::Tail(4), [&b"ello"[..], b"orld"]),
            (BatchPlan::Tail(400), [b"hello", b"big world"]),
            (BatchPlan::Capture(3), [b"hel", b"big"]),
            (BatchPlan::Capture(u32::MAX), [b"hello", b"big world"]),
        ] {
            for piece in [1, 2, 7, 64, 1_000] {
                let budget = CaptureBudget::new(9);
                let seen = fetched(&records, plan, &budget, piece);
                assert_eq!((seen.kept, seen.refused, seen.undecoded), (kept.map(<[u8]>::to_vec).to_vec(), 0, 0));
                assert_eq!(budget.available(), 9, "the budget is given back");
            }
        }
    }

    #[test]
    fn without_budget_nothing_is_kept_and_that_is_told() {
        let records = [batch(b"hello"), batch(b"hi")].concat();
        for piece in [1, 1_000] {
            let budget = CaptureBudget::new(4);
            let seen = fetched(&records, BatchPlan::Capture(100), &budget, piece);
            assert_eq!((seen.kept, seen.refused), (vec![b"hi".to_vec()], 1));
            assert_eq!((seen.heads.len(), budget.available()), (2, 4));
        }
    }

    #[test]
    fn the_tail_of_a_partial_batch_is_not_its_end() {
        let records = batch(b"hello");
        let seen = fetched(&records[..64], BatchPlan::Tail(2), &CaptureBudget::default(), 1_000);
        assert_eq!((seen.kept.len(), seen.refused, seen.heads.len()), (0, 0, 1));
        let seen = fetched(&records[..64], BatchPlan::Capture(9), &CaptureBudget::default(), 1_000);
        assert_eq!(seen.kept, [b"hel"]);
    }
}
