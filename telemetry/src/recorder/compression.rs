//! How well the batches of a producer are compressed.

use kafkascope_protocol::{BatchHead, BatchPlan, Captured, Codec, Direction, Measured, Unmeasured};

use super::Recorder;
use crate::compression::{LONGEST, Missed, Sample, ratio};
use crate::shard::Shard;
use crate::shard::row::BatchRow;

impl Recorder {
    /// What is wanted of the batch that was recorded last.
    #[inline(always)]
    pub(super) fn plan(&mut self, shard: &mut Shard, head: &BatchHead) -> BatchPlan {
        if shard.spans.is_on() && self.keeps_for_links(shard, Direction::Request, head) {
            return BatchPlan::Capture(LONGEST as u32);
        }
        // Of one that is not compressed all is known.
        match head.codec() {
            _ if head.magic < 2 => BatchPlan::Skip,
            Codec::None | Codec::Unknown(_) => BatchPlan::Skip,
            Codec::Gzip | Codec::Snappy => BatchPlan::Measure { capture: 0 },
            Codec::Lz4 | Codec::Zstd => BatchPlan::Measure { capture: self.most_to_keep(shard, head) },
        }
    }

    /// Bytes of the last batch that may be kept if its framing does not tell the size.
    #[inline(never)]
    fn most_to_keep(&mut self, shard: &mut Shard, head: &BatchHead) -> u32 {
        let records = records_bytes(head);
        let row = shard.batches.row(self.last_batch.slot());
        if records <= LONGEST && shard.turns.allows(&mut row.taken, records) { LONGEST as u32 } else { 0 }
    }

    /// The framing told the size, or did not.
    #[inline]
    pub(super) fn measured(&mut self, shard: &mut Shard, measured: &Measured<'_>) {
        let Measured { direction: Direction::Request, topic, head, uncompressed, .. } = *measured else { return };
        match uncompressed {
            Ok(size) => {
                let slot = self.slot_of_batch(shard, topic, head.attributes);
                shard.batches.row(slot).ratio.record(ratio(records_bytes(&head), size));
            }
            Err(Unmeasured::Untold) if records_bytes(&head) > LONGEST => shard.missed(Missed::TooLarge),
            Err(Unmeasured::Untold) => shard.missed(Missed::Budget),
            Err(Unmeasured::Implausible) => shard.missed(Missed::Malformed),
        }
    }

    /// A batch was kept to be measured, or for a span.
    #[inline(never)]
    pub(super) fn captured(&mut self, shard: &mut Shard, captured: &Captured<'_>) {
        let Captured { direction, topic, head, bytes, .. } = *captured;
        let expected = self.expected(captured);
        let (mut series, mut turn) = (None, 0);
        if direction == Direction::Request && head.codec() != Codec::None {
            let slot = self.slot_of_batch(shard, topic, head.attributes);
            series = shard.batches.series(slot, BatchRow::RATIO);
            if expected.is_none() {
                turn = shard.turns.take(&mut shard.batches.row(slot).taken, bytes.len() as u64);
            }
        }
        if series.is_none() && expected.is_none() {
            return;
        }
        let (codec, count) = (head.codec(), head.records.unwrap_or(0));
        shard.samples.push(Sample { series, expected, codec, count, records: bytes.into(), turn });
    }
}

/// Bytes of a batch's records on the wire. Only batches of magic 2 are measured.
pub(super) const fn records_bytes(head: &BatchHead) -> u64 {
    const HEAD: u64 = 61;
    head.bytes.saturating_sub(HEAD)
}
