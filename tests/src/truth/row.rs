//! One comparison: what we say, what the oracle says, and whether they agree.
//!
//! A row can only become `true` by two figures that were both measured on something. Whatever is missing makes it
//! `FALSE`; `absent` is not decided here, but by the list of unbuilt items.

use serde::{Deserialize, Serialize};

/// A measured number and how many things were measured for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The number, in the unit that the row's name states.
    pub value: f64,
    /// Requests, batches, records: what the number was made of. 0 means that nothing was measured.
    pub samples: f64,
}

impl Figure {
    /// A counter is its own number of samples.
    pub const fn count(value: f64) -> Self {
        Self { value, samples: value }
    }

    /// A mean over `samples` things.
    pub const fn mean(value: f64, samples: f64) -> Self {
        Self { value, samples }
    }
}

/// A figure, or why there is none.
pub(crate) type Measured = Result<Figure, String>;

/// How far our figure may be from the truth: `relative` of the truth, and `absolute` on top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    relative: f64,
    absolute: f64,
    unit: &'static str,
    /// Ours may be more by any amount.
    bound: bool,
}

impl Tolerance {
    /// Not at all.
    pub const EXACT: Self = Self { relative: 0.0, absolute: 0.0, unit: "", bound: false };

    /// `percent` of the truth.
    pub const fn percent(percent: f64) -> Self {
        Self { relative: percent / 100.0, absolute: 0.0, unit: "", bound: false }
    }

    /// `absolute` (in `unit`) in addition.
    pub const fn plus(self, absolute: f64, unit: &'static str) -> Self {
        Self { absolute, unit, ..self }
    }

    /// Ours is an upper bound: only less is wrong.
    pub const fn or_more(self) -> Self {
        Self { bound: true, ..self }
    }

    fn allows(self, ours: f64, truth: f64) -> bool {
        (self.bound && ours >= truth) || (ours - truth).abs() <= self.relative * truth.abs() + self.absolute
    }

    fn text(self) -> String {
        let text = match (self.relative > 0.0, self.absolute > 0.0) {
            (false, false) => "exact".to_owned(),
            (true, false) => format!("{} %", self.relative * 100.0),
            (false, true) => format!("{} {}", self.absolute, self.unit),
            (true, true) => format!("{} % + {} {}", self.relative * 100.0, self.absolute, self.unit),
        };
        if self.bound { format!("{text}, or more") } else { text }
    }
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The two agree within the tolerance.
    #[serde(rename = "true")]
    True,
    /// They do not, or one of them is missing.
    #[serde(rename = "FALSE")]
    False,
    /// The item is in the list of unbuilt items.
    #[serde(rename = "absent")]
    Absent,
}

impl Verdict {
    /// As it is printed.
    pub const fn text(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "FALSE",
            Self::Absent => "absent",
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Number of the item.
    pub item: u8,
    /// What is compared, with its unit.
    pub name: String,
    /// Our figure.
    pub ours: Option<f64>,
    /// The oracle's.
    pub truth: Option<f64>,
    /// Which oracle.
    pub source: String,
    /// Ours less the truth.
    pub difference: Option<f64>,
    /// What is allowed.
    pub tolerance: String,
    /// The outcome.
    pub verdict: Verdict,
    /// Why a figure is missing; circumstances of the measurement.
    pub note: String,
}

impl Row {
    /// Compares two figures.
    pub fn compared(item: u8, name: &str, ours: Measured, truth: Measured, source: &str, tolerance: Tolerance) -> Self {
        let (ours, truth) = (sampled(ours), sampled(truth));
        let verdict = match (&ours, &truth) {
            (Ok(ours), Ok(truth)) if tolerance.allows(ours.value, truth.value) => Verdict::True,
            _ => Verdict::False,
        };
        let missing = [("ours", &ours), ("truth", &truth)]
            .into_iter()
            .filter_map(|(side, figure)| figure.as_ref().err().map(|reason| format!("{side}: {reason}")))
            .collect::<Vec<_>>();
        let (ours, truth) = (ours.ok().map(|figure| figure.value), truth.ok().map(|figure| figure.value));
        Self {
            item,
            name: name.to_owned(),
            ours,
            truth,
            source: source.to_owned(),
            difference: ours.zip(truth).map(|(ours, truth)| ours - truth),
            tolerance: tolerance.text(),
            verdict,
            note: missing.join("; "),
        }
    }

    /// An item that could not be compared.
    pub fn failed(item: u8, reason: &str) -> Self {
        let row = Self::compared(item, "", Err(String::new()), Err(String::new()), "", Tolerance::EXACT);
        Self { note: reason.to_owned(), ..row }
    }

    /// An item that is not built yet.
    pub fn absent(item: u8, name: &str, reason: &str) -> Self {
        let row = Self::compared(item, name, Err(String::new()), Err(String::new()), "", Tolerance::EXACT);
        Self { tolerance: String::new(), verdict: Verdict::Absent, note: reason.to_owned(), ..row }
    }

    /// Whether the two sides disagree, or one is missing.
    pub fn is_false(&self) -> bool {
        self.verdict == Verdict::False
    }

    /// Whether it is about time, of which a busy machine takes more.
    pub fn depends_on_load(&self) -> bool {
        self.tolerance.ends_with(" ms")
    }

    /// Adds circumstances of the measurement.
    pub fn noted(mut self, note: &str) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note);
        self
    }
}

/// Nothing measured is not a zero, and a number that is none is not a number.
fn sampled(figure: Measured) -> Measured {
    match figure? {
        figure if !figure.value.is_finite() => Err(format!("not a number: {}", figure.value)),
        figure if figure.samples > 0.0 => Ok(figure),
        _ => Err("nothing was measured".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ours: Measured, truth: Measured, tolerance: Tolerance) -> Verdict {
        Row::compared(19, "requests", ours, truth, "the client", tolerance).verdict
    }

    fn missing() -> Measured {
        Err("no such series".to_owned())
    }

    #[test]
    fn equal_counters_are_true_and_one_off_is_false() {
        let truth = Ok(Figure::count(1000.0));
        assert_eq!(verdict(Ok(Figure::count(1000.0)), truth.clone(), Tolerance::EXACT), Verdict::True);
        assert_eq!(verdict(Ok(Figure::count(1001.0)), truth.clone(), Tolerance::EXACT), Verdict::False);
        assert_eq!(verdict(Ok(Figure::count(999.0)), truth, Tolerance::EXACT), Verdict::False);
    }

    #[test]
    fn a_missing_series_of_ours_is_false() {
        let row =
            Row::compared(19, "requests", missing(), Ok(Figure::count(3.0)), "the client", Tolerance::percent(100.0));
        assert_eq!((row.verdict, row.ours, row.difference), (Verdict::False, None, None));
        assert_eq!(row.note, "ours: no such series");
    }

    #[test]
    fn an_oracle_that_cannot_be_asked_is_false() {
        assert_eq!(verdict(Ok(Figure::count(3.0)), missing(), Tolerance::percent(100.0)), Verdict::False);
        assert_eq!(verdict(missing(), missing(), Tolerance::EXACT), Verdict::False);
    }

    #[test]
    fn nothing_measured_on_either_side_is_false_although_the_numbers_are_equal() {
        let nothing = || Ok(Figure::count(0.0));
        assert_eq!(verdict(nothing(), nothing(), Tolerance::EXACT), Verdict::False);
        let mean_of_nothing = || Ok(Figure::mean(5.0, 0.0));
        assert_eq!(verdict(mean_of_nothing(), Ok(Figure::mean(5.0, 9.0)), Tolerance::EXACT), Verdict::False);
    }

    #[test]
    fn a_mean_of_zero_over_something_is_a_figure() {
        assert_eq!(verdict(Ok(Figure::mean(0.0, 9.0)), Ok(Figure::mean(0.0, 9.0)), Tolerance::EXACT), Verdict::True);
    }

    #[test]
    fn an_upper_bound_may_be_more_and_not_less() {
        let bound = Tolerance::percent(10.0).or_more();
        for (ours, expected) in [(100.0, Verdict::True), (9.1, Verdict::True), (8.9, Verdict::False)] {
            assert_eq!(verdict(Ok(Figure::count(ours)), Ok(Figure::count(10.0)), bound), expected, "{ours}");
        }
    }

    #[test]
    fn not_a_number_is_false() {
        let tolerance = Tolerance::percent(100.0);
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(verdict(Ok(Figure::mean(value, 9.0)), Ok(Figure::mean(1.0, 9.0)), tolerance), Verdict::False);
            assert_eq!(verdict(Ok(Figure::mean(1.0, 9.0)), Ok(Figure::mean(value, 9.0)), tolerance), Verdict::False);
        }
    }

    #[test]
    fn relative_and_absolute_tolerances_add_up_and_are_of_the_truth() {
        let tolerance = Tolerance::percent(10.0).plus(1.0, "ms");
        let truth = || Ok(Figure::mean(20.0, 9.0));
        assert_eq!(verdict(Ok(Figure::mean(23.0, 9.0)), truth(), tolerance), Verdict::True);
        assert_eq!(verdict(Ok(Figure::mean(17.0, 9.0)), truth(), tolerance), Verdict::True);
        assert_eq!(verdict(Ok(Figure::mean(23.1, 9.0)), truth(), tolerance), Verdict::False);
        assert_eq!(verdict(Ok(Figure::mean(16.9, 9.0)), truth(), tolerance), Verdict::False);
        assert_eq!(tolerance.text(), "10 % + 1 ms");
    }
}
