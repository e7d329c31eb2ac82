//! A histogram that a kernel program can fill with shifts and two additions: eight buckets for each power of two.

/// Each power of two is divided into 1 << `FINENESS` buckets: values in one differ by 12.5 % at most.
const FINENESS: u32 = 3;

/// Values below this have a bucket each.
const EXACT: u64 = 2 << FINENESS;

/// Up to 2^40 ns, 18 minutes; the last bucket holds all that took longer.
const LARGEST_POWER: u32 = 40;

/// How many buckets there are.
pub const BUCKETS: usize = (EXACT as usize) + (((LARGEST_POWER - FINENESS - 1) as usize) << FINENESS);

/// Durations in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Histogram {
    /// When this entry was made. Another time means that the entry was thrown out in between and begun anew.
    pub since_ns: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// How many in each bucket, see [`bucket`].
    pub buckets: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { since_ns: 0, sum_ns: 0, buckets: [0; BUCKETS] }
    }
}

impl Histogram {
    /// How many durations. No counter of its own: the programs would have to add to it each time.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The bucket of a value.
#[inline(always)]
#[must_use]
pub const fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    if power >= LARGEST_POWER {
        return BUCKETS - 1;
    }
    let within = (value >> (power - FINENESS)) & ((1 << FINENESS) - 1);
    EXACT as usize + (((power - FINENESS - 1) as usize) << FINENESS) + within as usize
}

/// The smallest value that no longer belongs to a bucket or those before it.
#[must_use]
pub const fn bucket_end(index: usize) -> u64 {
    if (index as u64) < EXACT {
        return index as u64 + 1;
    }
    let beyond = index as u64 - EXACT;
    let (power, within) = ((beyond >> FINENESS) as u32 + FINENESS + 1, beyond & ((1 << FINENESS) - 1));
    ((1 << FINENESS) + within + 1) << (power - FINENESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for index in 0..BUCKETS {
            let end = bucket_end(index);
            assert_eq!(bucket(end - 1), index, "{end}");
            assert_eq!(bucket(end), (index + 1).min(BUCKETS - 1), "{end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
