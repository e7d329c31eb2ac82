//! Base-2 exponential histograms of scale 3, exactly OTLP's: bucket `i` counts values in (2^(i/8), 2^((i+1)/8)].
//!
//! Eight buckets a power of two bound a quantile's error to 4.5 %. The index comes from the bits of the value, without a
//! logarithm. Buckets are a dense window that grows to what was seen; it never has more than [`BUCKETS`]:
//!
//! * Durations: 2^-24 s (60 ns) to 2^16 s (18 h). What is shorter counts as zero, and OTLP's `zero_threshold` says so;
//!   what is longer counts in the last bucket.
//! * Counts and sizes: 1 to 2^39, longer ones in the last bucket.
//! * Ratios: a millionth to 2^20, larger ones in the last bucket.
//!
//! Sums are integers (nanoseconds, bytes, things), so they are exact in whatever order they are added. Minimum and maximum
//! are left out: of a distribution that is never reset they soon say nothing, and they would cost a sixth of recording.

use std::marker::PhantomData;

/// OTLP's scale of all histograms: 2^3 buckets a power of two.
pub const SCALE: i32 = 3;

/// Buckets a power of two.
pub(crate) const PER_OCTAVE: i32 = 1 << SCALE;

/// Most buckets of a histogram.
pub const BUCKETS: usize = 320;

/// Durations up to 2^this s count as zero.
pub const ZERO_EXPONENT: i32 = -24;

/// Index of the first bucket of durations.
const FIRST_NANOS: i32 = ZERO_EXPONENT * PER_OCTAVE;

/// Index of the first bucket of counts: (1/2, 2^(-7/8)]; the value 1 is in the last bucket of its power of two.
const FIRST_COUNT: i32 = -PER_OCTAVE;

/// Index of the first bucket of ratios, that of a millionth.
const FIRST_MILLIONTHS: i32 = -20 * PER_OCTAVE;

/// Mantissa bits of the largest number below 2^(k/8), k = 1..8; the last is above all mantissas.
const BOUNDS: [u64; 8] = [
    0x172b83c7d517a,
    0x306fe0a31b715,
    0x4bfdad5362a27,
    0x6a09e667f3bcc,
    0x8ace5422aa0db,
    0xae89f995ad3ad,
    0xd5818dcfba487,
    1 << 52,
];

/// For the six highest bits of a mantissa the bucket in which their lowest value lies. Bounds are more than 1/64 apart,
/// so at most one lies among the values with equal six bits, and one comparison decides.
const GUESS: [u8; 64] = guesses();

const fn guesses() -> [u8; 64] {
    let mut guesses = [0; 64];
    let mut six = 0;
    while six < 64 {
        let mut bucket = 0;
        while BOUNDS[bucket] <= (six as u64) << 46 {
            bucket += 1;
        }
        guesses[six] = bucket as u8;
        six += 1;
    }
    guesses
}

/// Index of the bucket of a positive value. Zero gives a large number, which no window holds.
#[inline]
fn index(value: f64) -> i32 {
    // One ulp less makes the buckets upper-inclusive: a power of two falls into the bucket below it. What is left of
    // zero is the largest number there is.
    let bits = value.to_bits().wrapping_sub(1);
    let mantissa = bits & ((1 << 52) - 1);
    let guess = GUESS[(mantissa >> 46) as usize];
    let above = i32::from(mantissa >= BOUNDS[usize::from(guess & 7)]);
    ((bits >> 52) as i32 - 1023) * PER_OCTAVE + i32::from(guess) + above
}

/// Lower bound of bucket `index`.
pub(crate) fn lower_bound(index: i32) -> f64 {
    (f64::from(index) / f64::from(PER_OCTAVE)).exp2()
}

/// What a shard counts between two drains.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    counts: Vec<u64>,
    offset: i32,
    zero: u64,
    sum: u64,
}

impl Cell {
    /// Counts a duration.
    #[inline]
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        if nanos == 0 {
            self.zero += 1;
        } else {
            self.record(nanos, Nanos::value(nanos), 1, Nanos::FIRST);
        }
    }

    /// Counts a size or a number of things.
    #[cfg(test)]
    pub(crate) fn record_count(&mut self, count: u64) {
        self.record(count, Counts::value(count), 1, Counts::FIRST);
    }

    #[inline]
    fn record(&mut self, raw: u64, value: f64, times: u64, first: i32) {
        let index = index(value);
        match self.counts.get_mut(index.wrapping_sub(self.offset) as u32 as usize) {
            Some(count) => *count += times,
            None => self.widen(index, raw, times, first),
        }
        self.sum = self.sum.wrapping_add(raw.wrapping_mul(times));
    }

    #[cold]
    #[inline(never)]
    fn widen(&mut self, index: i32, raw: u64, times: u64, first: i32) {
        if raw == 0 || index < first {
            self.zero += times;
            return;
        }
        let last = first + BUCKETS as i32 - 1;
        let index = index.min(last);
        widen(&mut self.counts, &mut self.offset, index, index, first, last);
        if let Some(count) = self.counts.get_mut((index - self.offset) as usize) {
            *count += times;
        }
    }

    /// What was counted since the last call, if anything. The window stays, for the values to come.
    pub(crate) fn take(&mut self) -> Option<Histogram> {
        // A value that is not zero is in the sum.
        if self.zero == 0 && self.sum == 0 {
            return None;
        }
        let taken = Histogram {
            zero: std::mem::take(&mut self.zero),
            sum: std::mem::take(&mut self.sum),
            ..Histogram::window(&self.counts, self.offset)
        };
        self.counts.fill(0);
        Some(taken)
    }
}

/// What its integers are.
pub(crate) trait Recorded {
    /// The integer as a value of the metric's unit.
    fn value(raw: u64) -> f64;
    /// Index of the first bucket.
    const FIRST: i32;
}

/// Nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Nanos;

impl Recorded for Nanos {
    #[inline]
    fn value(raw: u64) -> f64 {
        raw as i64 as f64 / 1e9
    }

    const FIRST: i32 = FIRST_NANOS;
}

/// Sizes, or numbers of things.
#[derive(Debug, Default)]
pub(crate) struct Counts;

impl Recorded for Counts {
    #[inline]
    fn value(raw: u64) -> f64 {
        raw as i64 as f64
    }

    const FIRST: i32 = FIRST_COUNT;
}

/// Millionths of a ratio.
#[derive(Debug, Default)]
pub(crate) struct Millionths;

impl Recorded for Millionths {
    #[inline]
    fn value(raw: u64) -> f64 {
        raw as i64 as f64 / 1e6
    }

    const FIRST: i32 = FIRST_MILLIONTHS;
}

/// A cell for values that often repeat, such as those of batches: one record each, or full of equal records. A value equal
/// to the one before is only counted, which costs next to nothing.
#[derive(Debug, Default)]
pub(crate) struct RepeatingCell<R> {
    cell: Cell,
    last: u64,
    /// How often `last` came in a row; not yet in the cell.
    repeats: u64,
    recorded: PhantomData<R>,
}

impl<R: Recorded> RepeatingCell<R> {
    #[inline]
    pub(crate) fn record(&mut self, raw: u64) {
        if raw == self.last {
            self.repeats += 1;
        } else {
            self.flush();
            (self.last, self.repeats) = (raw, 1);
        }
    }

    #[inline]
    fn flush(&mut self) {
        let times = std::mem::take(&mut self.repeats);
        if times > 0 {
            self.cell.record(self.last, R::value(self.last), times, R::FIRST);
        }
    }

    /// As [`Cell::take`].
    pub(crate) fn take(&mut self) -> Option<Histogram> {
        self.flush();
        self.cell.take()
    }
}

/// Makes room for the buckets `low` to `high`, whole powers of two at a time so that it seldom happens again, within
/// `first` and `last`.
fn widen(counts: &mut Vec<u64>, offset: &mut i32, low: i32, high: i32, first: i32, last: i32) {
    let end = *offset + counts.len() as i32;
    let (low, high) = if counts.is_empty() { (low, high) } else { (low.min(*offset), high.max(end - 1)) };
    let low = (low.div_euclid(PER_OCTAVE) * PER_OCTAVE).max(first);
    let high = ((high.div_euclid(PER_OCTAVE) + 1) * PER_OCTAVE - 1).min(last);
    if counts.is_empty() {
        *offset = low;
    }
    let front = (*offset - low).max(0) as usize;
    if front > 0 {
        counts.splice(0..0, std::iter::repeat_n(0, front));
        *offset = low;
    }
    let len = (high - *offset + 1).max(0) as usize;
    if len > counts.len() {
        counts.resize(len, 0);
    }
}

/// A distribution: of some time, or since its series began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Count by bucket, from the first to the last that is not empty.
    counts: Vec<u64>,
    /// Index of the first of them.
    offset: i32,
    zero: u64,
    sum: u64,
}

impl Histogram {
    /// The part of `counts` that is not empty.
    fn window(counts: &[u64], offset: i32) -> Self {
        let first = counts.iter().position(|&count| count > 0).unwrap_or(counts.len());
        let last = counts.iter().rposition(|&count| count > 0).map_or(first, |last| last + 1);
        let window = counts.get(first..last).unwrap_or_default();
        let offset = if window.is_empty() { 0 } else { offset + first as i32 };
        Self { counts: window.to_vec(), offset, ..Self::default() }
    }

    /// A distribution that was counted elsewhere: durations, each with how often it came, and their exact sum, all in
    /// nanoseconds.
    #[must_use]
    pub fn of_nanos(counted: impl IntoIterator<Item = (u64, u64)>, sum: u64) -> Self {
        let mut cell = Cell::default();
        for (nanos, times) in counted {
            if nanos == 0 {
                cell.zero += times;
            } else if times > 0 {
                cell.record(nanos, Nanos::value(nanos), times, Nanos::FIRST);
            }
        }
        Self { sum, ..cell.take().unwrap_or_default() }
    }

    /// A distribution of ratios, in millionths.
    pub(crate) fn of_ratios(ratios: &[u64]) -> Self {
        let mut cell = Cell::default();
        ratios.iter().for_each(|&raw| cell.record(raw, Millionths::value(raw), 1, Millionths::FIRST));
        cell.take().unwrap_or_default()
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        if !other.counts.is_empty() {
            let high = other.offset + other.counts.len() as i32 - 1;
            widen(&mut self.counts, &mut self.offset, other.offset, high, i32::MIN, i32::MAX);
            let start = (other.offset - self.offset) as usize;
            for (count, more) in self.counts.iter_mut().skip(start).zip(&other.counts) {
                *count += more;
            }
        }
        self.zero += other.zero;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was counted since `earlier`, a former state of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts.clone();
        let start = (earlier.offset - self.offset).max(0) as usize;
        for (count, less) in counts.iter_mut().skip(start).zip(&earlier.counts) {
            *count = count.saturating_sub(*less);
        }
        Self {
            zero: self.zero.saturating_sub(earlier.zero),
            sum: self.sum.saturating_sub(earlier.sum),
            ..Self::window(&counts, self.offset)
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.zero + self.counts.iter().sum::<u64>()
    }

    /// How many of them count as zero.
    #[must_use]
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// Their sum, in recorded integers.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Index of the first bucket that is not empty, and the counts from there to the last.
    #[must_use]
    pub fn buckets(&self) -> (i32, &[u64]) {
        let first = self.counts.iter().position(|&count| count > 0).unwrap_or(0);
        let last = self.counts.iter().rposition(|&count| count > 0).map_or(first, |last| last + 1);
        (self.offset + first as i32, self.counts.get(first..last).unwrap_or_default())
    }

    /// How many values are at most 2^`exponent` units.
    #[must_use]
    pub fn count_to(&self, exponent: i32) -> u64 {
        let below = (exponent * PER_OCTAVE - self.offset).max(0) as usize;
        let counted = self.counts.get(..below).unwrap_or(&self.counts);
        self.zero + counted.iter().sum::<u64>()
    }

    /// The value below which a share of `quantile` (0 to 1) of the values lies, in the unit of the buckets; at most a bucket
    /// (9 %) off.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        let rank = (quantile * count as f64).ceil().max(1.0);
        let mut seen = self.zero as f64;
        if seen >= rank {
            return Some(0.0);
        }
        for (index, &count) in (self.offset..).zip(&self.counts) {
            let within = rank - seen;
            seen += count as f64;
            if seen >= rank {
                let (low, high) = (lower_bound(index), lower_bound(index + 1));
                return Some(low + (high - low) * within / count as f64);
            }
        }
        // No value at all, or a quantile above 1.
        (count > 0).then(|| lower_bound(self.offset + self.counts.len() as i32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut cell = Cell::default();
        values.iter().for_each(|&value| cell.record_count(value));
        cell.take().unwrap_or_default()
    }

    #[test]
    fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
        assert_eq!(index(1.0), -1);
        assert_eq!(index(1.0 + f64::EPSILON), 0);
        assert_eq!(index(2.0), 7);
        assert_eq!(index(0.5), -9);
        assert_eq!(index(1024.0), 79);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(value in prop_oneof![1e-9..1.0_f64, 1.0..1e6_f64, 1e6..1e15_f64]) {
            let index = index(value);
            // The bounds as exp2 gives them may be one ulp off.
            let slack = 1.0 + 4.0 * f64::EPSILON;
            prop_assert!(lower_bound(index) < value * slack, "{value} in {index}");
            prop_assert!(value <= lower_bound(index + 1) * slack, "{value} in {index}");
        }

        #[test]
        fn merged_parts_are_the_whole(values in prop::collection::vec(prop_oneof![0..u64::MAX >> 20, 0..3_u64], 0..200), cut in 0_usize..200) {
            let cut = cut.min(values.len());
            let mut merged = of(&values[..cut]);
            merged.merge(&of(&values[cut..]));
            let whole = of(&values);
            prop_assert_eq!(merged.buckets(), whole.buckets());
            prop_assert_eq!(merged.count(), values.len() as u64);
            prop_assert_eq!(merged.sum(), values.iter().sum::<u64>());
            let rest = merged.since(&of(&values[..cut]));
            let later = of(&values[cut..]);
            prop_assert_eq!(rest.buckets().1, later.buckets().1);
            prop_assert_eq!(rest.sum(), later.sum());
        }

        #[test]
        fn counts_at_powers_of_two_are_exact(values in prop::collection::vec(0..100_000_u64, 0..200), exponent in 0..18) {
            let expected = values.iter().filter(|&&value| value <= 1_u64 << exponent).count() as u64;
            prop_assert_eq!(of(&values).count_to(exponent), expected);
        }

        #[test]
        fn a_quantile_is_within_a_bucket_of_the_truth(mut values in prop::collection::vec(1..1_000_000_u64, 1..200), q in 0.0..1.0_f64) {
            let estimate = of(&values).quantile(q).unwrap();
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let truth = values[rank - 1] as f64;
            prop_assert!(estimate <= truth * 1.091 && estimate >= truth / 1.091, "{estimate} for {truth}");
        }
    }

    #[test]
    fn durations_below_the_zero_threshold_count_as_zero() {
        let mut cell = Cell::default();
        let threshold_nanos = 59; // 2^-24 s are 59.6 ns
        [0, 1, threshold_nanos, threshold_nanos + 1].iter().for_each(|&nanos| cell.record_nanos(nanos));
        let histogram = cell.take().unwrap();
        assert_eq!(histogram.zero(), 3);
        assert_eq!(histogram.buckets(), (FIRST_NANOS, &[1_u64][..]));
        assert_eq!(histogram.sum(), 120);
    }

    #[test]
    fn ratios_count_in_their_buckets_and_add_up_in_millionths() {
        let histogram = Histogram::of_ratios(&[1, 250_000, 1_000_000, u64::MAX >> 10, 0]);
        assert_eq!((histogram.count(), histogram.zero()), (5, 1));
        assert_eq!((histogram.count_to(-2), histogram.count_to(0)), (3, 4));
        assert_eq!(Histogram::of_ratios(&[250_000, 500_000]).sum(), 750_000);
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut cell = Cell::default();
        for shift in 0..63 {
            cell.record_nanos(1 << shift);
            cell.record_nanos(u64::MAX >> (shift + 1));
        }
        assert!(cell.counts.len() <= BUCKETS, "{}", cell.counts.len());
        let histogram = cell.take().unwrap();
        assert_eq!(histogram.count(), 126);
        let mut cell = Cell::default();
        cell.record_count(1);
        cell.record_count(i64::MAX as u64);
        assert_eq!(cell.take().unwrap().count(), 2);
        assert_eq!(cell.counts.len(), BUCKETS);
    }

    #[test]
    fn a_taken_cell_starts_again() {
        let mut cell = Cell::default();
        assert!(cell.take().is_none());
        cell.record_count(5);
        assert_eq!(cell.take().unwrap().count(), 1);
        assert!(cell.take().is_none());
        [0, 0].iter().for_each(|&zero| cell.record_count(zero));
        let zero = cell.take().unwrap();
        assert_eq!((zero.count(), zero.zero(), zero.sum()), (2, 2, 0));
    }

    proptest! {
        #[test]
        fn repeated_values_are_counted_like_others(values in prop::collection::vec(0..4_u64, 0..50), cut in 0_usize..50) {
            let mut cell = RepeatingCell::<Counts>::default();
            let mut all = Histogram::default();
            for (index, &value) in values.iter().enumerate() {
                if index == cut {
                    // The last value of an interval is in it, and the first of the next one may be the same.
                    all.merge(&cell.take().unwrap_or_default());
                }
                cell.record(value);
            }
            all.merge(&cell.take().unwrap_or_default());
            prop_assert_eq!(all.count(), values.len() as u64);
            let expected = of(&values);
            prop_assert_eq!(all.zero(), expected.zero());
            prop_assert_eq!(all.buckets(), expected.buckets());
            prop_assert_eq!(all.sum(), expected.sum());
        }
    }
}
