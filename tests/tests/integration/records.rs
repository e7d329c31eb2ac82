//! Records whose loss, repetition or disorder shows.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Size of every value, in bytes.
pub(crate) const VALUE_BYTES: usize = 1024;

/// A value that every codec makes smaller. It begins with `run` and `number`.
pub(crate) fn compressible(run: &str, number: usize) -> Vec<u8> {
    let mut value = format!("{run} {number} ").into_bytes();
    while value.len() < VALUE_BYTES {
        value.extend_from_slice(b"the quick brown fox jumps over the lazy dog; ");
    }
    value.truncate(VALUE_BYTES);
    value
}

/// A value that no codec makes smaller: xorshift numbers.
pub(crate) fn incompressible(number: usize) -> Vec<u8> {
    let mut value = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1);
    while value.len() < 4 * VALUE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    value
}

/// What a consumer got.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Numbers by run and partition, in the order of arrival.
    numbers: BTreeMap<(String, i32), Vec<usize>>,
    total: usize,
}

impl Received {
    /// Notes a value, which must be as [`compressible`] made it.
    pub(crate) fn note(&mut self, partition: i32, value: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(value);
        let mut words = text.split(' ');
        let (run, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let number = number.parse()?;
        ensure!(value == compressible(run, number), "not the value that was produced: {text}");
        self.numbers.entry((run.to_owned(), partition)).or_default().push(number);
        self.total += 1;
        Ok(())
    }

    /// Whether of each run every number below `count` came once, and within a partition in order.
    pub(crate) fn must_be_complete(&self, runs: &[String], count: usize) -> Result<()> {
        for run in runs {
            let partitions = self.numbers.iter().filter(|((of, _), _)| of == run);
            let mut all = Vec::new();
            for ((_, partition), numbers) in partitions {
                ensure!(numbers.is_sorted(), "{run}: out of order in partition {partition}: {numbers:?}");
                all.extend_from_slice(numbers);
            }
            all.sort_unstable();
            let wanted: Vec<usize> = (0..count).collect();
            ensure!(all == wanted, "{run}: {} records instead of {count}, or some twice", all.len());
        }
        ensure!(self.total == runs.len() * count, "{} records instead of {}", self.total, runs.len() * count);
        Ok(())
    }
}
