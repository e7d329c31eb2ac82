//! A record batch of which more than the head is wanted: bytes of it are kept, or its uncompressed size is measured.
//!
//! Measuring looks at the few bytes in which a codec's [`framing`] tells sizes; all between them is skipped, and so may be
//! forwarded without being read. Where only decompression would tell, the records are kept for the sink, or not looked at.

use crate::{
    BatchHead, BatchPlan, CaptureBudget, Captured, Codec, Measured, Observation, Sink, Unmeasured,
    body::{
        Context,
        framing::{self, Start},
        records::Place,
    },
    reader::{Read, Reader},
};

/// Batches of this format and later ones are compressed as a whole.
const WHOLE: i8 = 2;

/// A batch that is opened.
#[derive(Debug)]
pub(crate) struct Opened {
    head: BatchHead,
    step: Step,
}

/// What comes next of it.
#[derive(Debug)]
enum Step {
    /// Bytes that are kept, with so many of the batch behind them.
    Keep { bytes: u32, after: u64, _reservation: Reservation },
    /// The start of the records, which are so many bytes.
    Start { records: u64, capture: u32 },
    /// The size at the end of a gzip stream.
    GzipSize { records: u64 },
    /// The length of an xerial block.
    Block(Xerial),
    /// The first bytes of an xerial block of so many bytes.
    Preamble { block: u32, xerial: Xerial },
}

/// How far the walk over xerial's blocks has come.
#[derive(Debug, Clone, Copy)]
struct Xerial {
    records: u64,
    /// Bytes of the batch that are still to come.
    left: u64,
    /// Uncompressed bytes of the blocks so far.
    uncompressed: u64,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
struct Reservation {
    budget: CaptureBudget,
    bytes: usize,
}

impl Reservation {
    fn of(budget: &CaptureBudget, bytes: u32) -> Option<Self> {
        let bytes = bytes as usize;
        budget.take(bytes).then(|| Self { budget: budget.clone(), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// Opens a batch with `records` bytes behind its head, as the sink planned.
#[inline(never)]
pub(super) fn open<S: Sink>(
    head: BatchHead,
    plan: BatchPlan,
    records: u64,
    place: Place,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let at_most = |bytes: u32| u32::try_from(records).unwrap_or(u32::MAX).min(bytes);
    match plan {
        BatchPlan::Skip => return reader.skip(records),
        // What is there of a partial batch is not its end.
        BatchPlan::Tail(_) | BatchPlan::Measure { .. } if head.partial => return reader.skip(records),
        BatchPlan::Measure { .. } if head.magic < WHOLE => return reader.skip(records),
        BatchPlan::Tail(bytes) => {
            let bytes = at_most(u32::from(bytes));
            return keep(head, records.saturating_sub(u64::from(bytes)), bytes, 0, place, reader, context);
        }
        BatchPlan::Capture(bytes) => {
            let bytes = at_most(bytes);
            return keep(head, 0, bytes, records.saturating_sub(u64::from(bytes)), place, reader, context);
        }
        BatchPlan::Measure { capture } => {
            let step = match head.codec() {
                Codec::Gzip if records >= framing::GZIP_SIZE as u64 => {
                    reader.skip(records.saturating_sub(framing::GZIP_SIZE as u64))?;
                    Step::GzipSize { records }
                }
                _ => Step::Start { records, capture },
            };
            // From here on the batch's head is not read again.
            reader.commit()?;
            context.scratch.opened = Some(Opened { head, step });
        }
    }
    go_on(place, reader, context)
}

/// Keeps `bytes` bytes behind `before` others, if the budget has room.
fn keep<S: Sink>(
    head: BatchHead,
    before: u64,
    bytes: u32,
    after: u64,
    place: Place,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    if bytes == 0 {
        return reader.skip(before.saturating_add(after));
    }
    let Some(reservation) = Reservation::of(context.budget, bytes) else {
        context.sink.observe(Observation::CaptureRefused { bytes });
        return reader.skip(before.saturating_add(u64::from(bytes)).saturating_add(after));
    };
    let step = Step::Keep { bytes, after, _reservation: reservation };
    context.scratch.opened = Some(Opened { head, step });
    reader.skip(before)?;
    go_on(place, reader, context)
}

/// Reads on in the batch that is opened. When it returns `Ok`, the batch has been passed, and none is open any more.
#[inline(never)]
pub(super) fn go_on<S: Sink>(place: Place, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
    while let Some(Opened { head, step }) = &mut context.scratch.opened {
        let head = *head;
        let (records, uncompressed, left) = match step {
            Step::Keep { bytes, after, .. } => {
                let (bytes, after) = (reader.budgeted(*bytes as usize), *after);
                reader.commit()?;
                context.sink.observe(Observation::Captured(Captured {
                    seq: context.seq(),
                    direction: place.direction,
                    topic: context.memory.topics.describe(place.topic),
                    head,
                    bytes,
                }));
                context.scratch.opened = None;
                return reader.skip(after);
            }
            &mut Step::Start { records, capture } => {
                // Not more than the constant, so it fits.
                let start = reader.ahead(records.min(framing::START as u64) as usize)?;
                match framing::start(head.codec(), start, records) {
                    Start::Told(size) => (records, Ok(size), records),
                    Start::Blocks => {
                        reader.skip(framing::XERIAL_HEAD as u64)?;
                        let left = records.saturating_sub(framing::XERIAL_HEAD as u64);
                        *step = Step::Block(Xerial { records, left, uncompressed: 0 });
                        continue;
                    }
                    Start::Untold => match u32::try_from(records) {
                        Ok(bytes) if bytes <= capture => {
                            context.scratch.opened = None;
                            return keep(head, 0, bytes, 0, place, reader, context);
                        }
                        _ => (records, Err(Unmeasured::Untold), records),
                    },
                    Start::Foreign => (records, Err(Unmeasured::Implausible), records),
                }
            }
            &mut Step::GzipSize { records } => {
                let size = u32::from_le_bytes(reader.fixed::<{ framing::GZIP_SIZE }>());
                reader.commit()?;
                (records, Ok(u64::from(size)), 0)
            }
            &mut Step::Block(Xerial { records, left: 0, uncompressed }) => (records, Ok(uncompressed), 0),
            &mut Step::Block(mut xerial) => match xerial.left.checked_sub(framing::XERIAL_LENGTH as u64) {
                None => (xerial.records, Err(Unmeasured::Implausible), xerial.left),
                Some(left) => {
                    let block = u32::from_be_bytes(reader.fixed::<{ framing::XERIAL_LENGTH }>());
                    reader.commit()?;
                    xerial.left = left;
                    if block > 0 && u64::from(block) <= left {
                        *step = Step::Preamble { block, xerial };
                        continue;
                    }
                    (xerial.records, Err(Unmeasured::Implausible), left)
                }
            },
            &mut Step::Preamble { block, mut xerial } => {
                let length = block.min(framing::PREAMBLE as u32);
                match framing::preamble(reader.ahead(length as usize)?) {
                    None => (xerial.records, Err(Unmeasured::Implausible), xerial.left),
                    Some(size) => {
                        reader.skip(u64::from(block))?;
                        xerial.left = xerial.left.saturating_sub(u64::from(block));
                        xerial.uncompressed = xerial.uncompressed.saturating_add(u64::from(size));
                        *step = Step::Block(xerial);
                        continue;
                    }
                }
            }
        };
        return measured(head, records, uncompressed, left, place, reader, context);
    }
    Ok(())
}

/// Tells the size, if it can be, and skips the `left` bytes of the batch that are still to come.
fn measured<S: Sink>(
    head: BatchHead,
    records: u64,
    uncompressed: Result<u64, Unmeasured>,
    left: u64,
    place: Place,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let uncompressed = uncompressed.and_then(|size| {
        let is_plausible = framing::is_plausible(head.codec(), head.records, records, size);
        if is_plausible { Ok(size) } else { Err(Unmeasured::Implausible) }
    });
    context.sink.observe(Observation::Measured(Measured {
        seq: context.seq(),
        direction: place.direction,
        topic: context.memory.topics.describe(place.topic),
        head,
        uncompressed,
    }));
    context.scratch.opened = None;
    reader.skip(left)
}
