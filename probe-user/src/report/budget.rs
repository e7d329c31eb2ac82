//! How many spans a second are made, whatever a disk or a network does.

use kafkascope_protocol::Timestamp;

/// Spans a second: enough to see what a bad minute was like, few enough for every backend.
const PER_SECOND: u32 = 50;

/// What may be spent, second by second.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    second: u64,
    spent: u32,
}

impl Budget {
    /// Whether one more may be made at `now`.
    pub(crate) fn spend(&mut self, now: Timestamp) -> bool {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            *self = Self { second, spent: 0 };
        }
        self.spent += 1;
        self.spent <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_share_and_the_next_one_again() {
        let mut budget = Budget::default();
        let made = |budget: &mut Budget, at| (0..200).filter(|_| budget.spend(Timestamp(at))).count();
        assert_eq!(made(&mut budget, 5_000_000_000), 50);
        assert_eq!(made(&mut budget, 5_999_999_999), 0);
        assert_eq!(made(&mut budget, 6_000_000_000), 50);
    }
}
