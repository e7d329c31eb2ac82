//! The record batches of one partition: their heads are read, their records are skipped, or kept as the sink wishes.
//!
//! Source of the layouts: `org.apache.kafka.common.record.DefaultRecordBatch` (magic 2) and `LegacyRecord` (0 and 1).

use alloc::boxed::Box;

use crate::{
    BatchHead, BatchPlan, CaptureBudget, Captured, Codec, Direction, Observation, PartitionBatch, Sink,
    body::Context,
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
}

/// The walk over one partition's batches. Finished as long as it is not begun.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Records {
    left: u64,
}

/// Bytes of a batch that are to be kept.
#[derive(Debug)]
pub(crate) struct Capture {
    head: BatchHead,
    bytes: u32,
    /// Bytes of the batch behind them.
    after: u64,
    _reservation: Reservation,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
struct Reservation {
    budget: CaptureBudget,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
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
        if context.scratch.capture.is_some() {
            reader.with_copy(|copy| keep(place, copy, context))?;
        }
        while self.left > 0 {
            let Some((head, read)) = head(self.left, place.direction, reader)? else {
                self.left = 0;
                break;
            };
            let batch = self.left.min(head.bytes);
            self.left = self.left.wrapping_sub(batch);
            reader.commit()?;
            let facts = PartitionBatch {
                seq: context.entry.exchange.seq,
                topic: context.memory.topics.describe(place.topic),
                partition: place.partition,
                fetch_offset: place.fetch_offset,
                head,
            };
            context.sink.observe(match place.direction {
                Direction::Request => Observation::ProduceBatch(facts),
                Direction::Response => Observation::FetchBatch(facts),
            });
            let records = batch.wrapping_sub(read);
            match context.sink.at_batch(&head) {
                BatchPlan::Skip => reader.skip(records)?,
                plan => reader.with_copy(|copy| capture(head, plan, records, place, copy, context))?,
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

/// Keeps of the next `records` bytes what the sink wants, if the budget has room.
#[inline(never)]
fn capture<S: Sink>(
    head: BatchHead,
    plan: BatchPlan,
    records: u64,
    place: Place,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let (before, bytes) = match plan {
        BatchPlan::Skip => (records, 0),
        // What is there of a partial batch is not its end.
        BatchPlan::Tail(_) if head.partial => (records, 0),
        BatchPlan::Tail(bytes) => (records.saturating_sub(u64::from(bytes)), records.min(u64::from(bytes))),
        BatchPlan::Capture(bytes) => (0, records.min(u64::from(bytes))),
    };
    let after = records.saturating_sub(before).saturating_sub(bytes);
    // Not more than the sink asked for, so both fit.
    let (wanted, size) = (bytes as u32, bytes as usize);
    if wanted > 0 && context.budget.take(size) {
        let reservation = Reservation { budget: context.budget.clone(), bytes: size };
        let capture = Capture { head, bytes: wanted, after, _reservation: reservation };
        context.scratch.capture = Some(Box::new(capture));
        reader.skip(before)?;
        return keep(place, reader, context);
    }
    if wanted > 0 {
        context.sink.observe(Observation::CaptureRefused { bytes: wanted });
    }
    reader.skip(records)
}

/// Hands over what is to be kept once it is there.
#[inline(never)]
fn keep<S: Sink>(place: Place, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
    let Some(capture) = &context.scratch.capture else { return Ok(()) };
    let bytes = reader.budgeted(capture.bytes as usize);
    reader.commit()?;
    context.sink.observe(Observation::Captured(Captured {
        seq: context.entry.exchange.seq,
        direction: place.direction,
        head: capture.head,
        bytes,
    }));
    let after = capture.after;
    context.scratch.capture = None;
    reader.skip(after)
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
