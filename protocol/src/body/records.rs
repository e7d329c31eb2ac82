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
        place: &Place,
        reader: &mut Reader<'_>,
        context: &mut Context<'_, S>,
    ) -> Read<()> {
        if context.scratch.capture.is_some() {
            let mut copy = *reader;
            let kept = keep(place, &mut copy, context);
            *reader = copy;
            kept?;
        }
        while self.left > 0 {
            let Some((head, read)) = self.head(place, reader)? else { break };
            let batch = self.left.min(head.bytes);
            self.left = self.left.wrapping_sub(batch);
            reader.commit();
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
                plan => {
                    let mut copy = *reader;
                    let kept = capture(&head, plan, records, place, &mut copy, context);
                    *reader = copy;
                    kept?;
                }
            }
        }
        Ok(())
    }

    /// Reads the next batch's head and says how long it was. `None`: what is left is too short for one, and is skipped.
    #[inline(always)]
    fn head(&mut self, place: &Place, reader: &mut Reader<'_>) -> Read<Option<(BatchHead, u64)>> {
        if self.left >= HEAD_V2 as u64
            && let Ok(bytes) = reader.peek::<HEAD_V2>()
            && magic(bytes) == 2
        {
            reader.fixed::<HEAD_V2>()?;
            return self.checked(place, batch_head(bytes)?, HEAD_V2);
        }
        let mut copy = *reader;
        let head = self.rare_head(place, &mut copy);
        *reader = copy;
        head
    }

    #[cold]
    #[inline(never)]
    fn rare_head(&mut self, place: &Place, reader: &mut Reader<'_>) -> Read<Option<(BatchHead, u64)>> {
        if self.left < LEAD as u64 {
            return self.partial_head(place, reader);
        }
        let length = match magic(reader.peek::<LEAD>()?) {
            0 => HEAD_V0,
            1 => HEAD_V1,
            2 => HEAD_V2,
            _ => return Err(Halt::Malformed),
        };
        if self.left < length as u64 {
            return self.partial_head(place, reader);
        }
        let head = match length {
            HEAD_V0 => message_head(reader.fixed::<HEAD_V0>()?, -1)?,
            HEAD_V1 => {
                let bytes = reader.fixed::<HEAD_V1>()?;
                let mut fields = Reader::new(bytes, 0, HEAD_V1);
                let lead = fields.fixed::<HEAD_V0>()?;
                message_head(lead, fields.i64()?)?
            }
            _ => batch_head(reader.fixed::<HEAD_V2>()?)?,
        };
        self.checked(place, head, length)
    }

    /// A Fetch response may end within a batch; a Produce request may not.
    #[inline(always)]
    fn checked(&self, place: &Place, mut head: BatchHead, length: usize) -> Read<Option<(BatchHead, u64)>> {
        if head.bytes > self.left {
            if place.direction == Direction::Request {
                return Err(Halt::Malformed);
            }
            head.partial = true;
        }
        Ok(Some((head, length as u64)))
    }

    fn partial_head(&mut self, place: &Place, reader: &mut Reader<'_>) -> Read<Option<(BatchHead, u64)>> {
        if place.direction == Direction::Request {
            return Err(Halt::Malformed);
        }
        reader.skip(self.left)?;
        self.left = 0;
        Ok(None)
    }
}

/// Keeps of the next `records` bytes what the sink wants, if the budget has room.
#[inline(never)]
fn capture<S: Sink>(
    head: &BatchHead,
    plan: BatchPlan,
    records: u64,
    place: &Place,
    reader: &mut Reader<'_>,
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
        let capture = Capture { head: *head, bytes: wanted, after, _reservation: reservation };
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
fn keep<S: Sink>(place: &Place, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
    let Some(capture) = &context.scratch.capture else { return Ok(()) };
    let bytes = reader.budgeted(capture.bytes as usize)?;
    reader.commit();
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
fn magic<const N: usize>(bytes: &[u8; N]) -> i8 {
    bytes.get(LEAD.saturating_sub(1)).map_or(-1, |&magic| i8::from_be_bytes([magic]))
}

/// Size of the batch from its length field, which must count at least `shortest` bytes.
#[inline(always)]
fn size(length: i32, shortest: u64) -> Read<u64> {
    match u64::try_from(length) {
        Ok(length) if length >= shortest => Ok(length.saturating_add(UNCOUNTED)),
        _ => Err(Halt::Malformed),
    }
}

#[inline(always)]
fn batch_head(bytes: &[u8; HEAD_V2]) -> Read<BatchHead> {
    let mut fields = Reader::new(bytes, 0, HEAD_V2);
    let base_offset = fields.i64()?;
    let length = fields.i32()?;
    // Leader epoch and magic, then the CRC.
    let [.., magic] = *fields.fixed::<5>()?;
    fields.fixed::<4>()?;
    let attributes = fields.i16()?;
    let mut head = BatchHead {
        magic: i8::from_be_bytes([magic]),
        base_offset,
        bytes: size(length, SHORTEST_V2)?,
        attributes,
        last_offset_delta: fields.i32()?,
        base_timestamp: fields.i64()?,
        max_timestamp: fields.i64()?,
        producer_id: fields.i64()?,
        producer_epoch: fields.i16()?,
        base_sequence: fields.i32()?,
        records: Some(u32::try_from(fields.i32()?).ok().ok_or(Halt::Malformed)?),
        partial: false,
    };
    if head.has_delete_horizon() {
        head.base_timestamp = -1;
    }
    Ok(head)
}

fn message_head(bytes: &[u8; HEAD_V0], timestamp: i64) -> Read<BatchHead> {
    let mut fields = Reader::new(bytes, 0, HEAD_V0);
    let base_offset = fields.i64()?;
    let length = fields.i32()?;
    fields.fixed::<4>()?;
    let [magic, attributes] = *fields.fixed::<2>()?;
    let magic = i8::from_be_bytes([magic]);
    let mut head = BatchHead {
        magic,
        base_offset,
        bytes: size(length, if magic == 0 { SHORTEST_V0 } else { SHORTEST_V1 })?,
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
