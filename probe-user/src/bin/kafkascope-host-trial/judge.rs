//! Whether a figure is true, and how it is told.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;
use serde_json::json;

use crate::exposition::Exposition;

/// What the probe says of a sampler: 1 with the method that it uses, or 0 with the reason.
const SAMPLER_UP: &str = "kafkascope_sampler_up";

/// How the probe says that the kernel does not take one of its programs.
const REFUSED: &str = "is refused";

/// A figure of the probe beside what is known to be so.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) truth: f64,
    /// How far apart they may be.
    pub(crate) tolerance: f64,
}

impl Figure {
    pub(crate) fn exact(name: &str, ours: f64, truth: f64) -> Self {
        Self { name: name.to_owned(), ours, truth, tolerance: 0.0 }
    }

    /// `share` of the truth may be missing or too much: nothing, where the truth is nothing.
    pub(crate) fn within(share: f64, name: &str, ours: f64, truth: f64) -> Self {
        Self { name: name.to_owned(), ours, truth, tolerance: truth * share }
    }

    fn is_right(&self) -> bool {
        (self.ours - self.truth).abs() <= self.tolerance
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    True,
    /// The probe says itself that it cannot do this here, or not as well.
    Degraded,
    False,
    /// It could not be tried.
    Absent,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Degraded => "degraded",
            Self::False => "FALSE",
            Self::Absent => "absent",
        }
    }
}

/// What a probe tells about one of its samplers.
#[derive(Debug, PartialEq, Eq)]
enum State {
    On {
        method: String,
        reason: String,
    },
    Off {
        reason: String,
    },
    /// It does not know it, and so cannot excuse a figure.
    Untold,
}

fn state(scrape: &Exposition, sampler: &str) -> State {
    let labels = [("kafkascope_sampler", sampler)];
    let told = || scrape.series(SAMPLER_UP, &labels);
    let text = |name: &str| told().map(|series| series.label(name)).find(|text| !text.is_empty());
    let text = |name: &str| text(name).unwrap_or_default().to_owned();
    // More than one method may be told of; one that works is enough.
    match told().map(|series| series.value).reduce(f64::max) {
        None => State::Untold,
        Some(up) if up > 0.0 => State::On { method: text("kafkascope_method"), reason: text("reason") },
        Some(_) => State::Off { reason: text("reason") },
    }
}

fn judge(figure: &Figure, state: &State) -> (Verdict, String) {
    match state {
        State::Off { reason } if reason.is_empty() => (Verdict::False, "off, without a reason".to_owned()),
        // What a kernel lacks is an excuse; that it does not take a program that we wrote for it is none.
        State::Off { reason } if reason.contains(REFUSED) => (Verdict::False, reason.clone()),
        State::Off { reason } => (Verdict::Degraded, reason.clone()),
        State::On { reason, method } if figure.is_right() => {
            let why = [method.as_str(), reason].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
            (Verdict::True, why.join(": "))
        }
        State::On { reason, .. } if !reason.is_empty() => (Verdict::Degraded, reason.clone()),
        State::On { .. } => (Verdict::False, "the probe says that this sampler works".to_owned()),
        // But nothing, from a sampler that may not exist, is not a figure.
        State::Untold if figure.is_right() && figure.ours != 0.0 => (Verdict::True, String::new()),
        State::Untold => (Verdict::False, "the probe says nothing about this sampler".to_owned()),
    }
}

/// Tells verdicts, and remembers whether all was well.
pub(crate) struct Report {
    output: Box<dyn Write>,
    is_good: bool,
    tried: BTreeSet<String>,
}

impl Report {
    pub(crate) fn new(output: impl Write + 'static) -> Self {
        Self { output: Box::new(output), is_good: true, tried: BTreeSet::new() }
    }

    /// A figure of a sampler, after what the probe said of that at the same time.
    pub(crate) fn figure(&mut self, sampler: &str, scrape: &Exposition, figure: &Figure) -> Result<()> {
        self.tried.insert(sampler.to_owned());
        let (verdict, why) = judge(figure, &state(scrape, sampler));
        self.row(&figure.name, Some((figure.ours, figure.truth)), verdict, &why)
    }

    /// What could not be tried, for no fault of the probe.
    pub(crate) fn absent(&mut self, name: &str, why: &str) -> Result<()> {
        self.row(name, None, Verdict::Absent, why)
    }

    /// A trial that broke off.
    pub(crate) fn failed(&mut self, name: &str, why: &str) -> Result<()> {
        self.row(name, None, Verdict::False, why)
    }

    /// The samplers of which nothing was tried: their state, so that a table of kernels is whole.
    pub(crate) fn others(&mut self, scrape: &Exposition) -> Result<()> {
        let all: BTreeSet<_> =
            scrape.series(SAMPLER_UP, &[]).map(|series| series.label("kafkascope_sampler").to_owned()).collect();
        for sampler in all.difference(&self.tried.clone()) {
            let name = format!("({sampler})");
            match state(scrape, sampler) {
                State::Off { reason } => self.row(&name, None, Verdict::Degraded, &reason)?,
                State::On { method, .. } => {
                    self.row(&name, None, Verdict::Absent, &format!("on, by {method}; not tried here"))?;
                }
                State::Untold => {}
            }
        }
        Ok(())
    }

    pub(crate) fn is_good(&self) -> bool {
        self.is_good
    }

    fn row(&mut self, name: &str, figures: Option<(f64, f64)>, verdict: Verdict, why: &str) -> Result<()> {
        self.is_good &= verdict != Verdict::False;
        let (ours, truth) = figures.unzip();
        let row = json!({"sampler": name, "ours": ours, "truth": truth, "verdict": verdict.word(), "why": why});
        writeln!(self.output, "{row}")?;
        Ok(self.output.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(figure: &Figure, told: &str) -> Verdict {
        judge(figure, &state(&Exposition::parse(told), "fsync")).0
    }

    const ON: &str = "kafkascope_sampler_up{kafkascope_sampler=\"fsync\",kafkascope_method=\"tp\"} 1";
    const OFF: &str = "kafkascope_sampler_up{kafkascope_sampler=\"fsync\",reason=\"no BTF\"} 0";
    const LAME: &str = "kafkascope_sampler_up{kafkascope_sampler=\"fsync\",reason=\"bytes only\"} 1";
    const MUTE: &str = "kafkascope_sampler_up{kafkascope_sampler=\"fsync\"} 0";
    const OTHER: &str = "kafkascope_sampler_up{kafkascope_sampler=\"disk\",reason=\"no BTF\"} 0";

    #[test]
    fn a_deception_is_seen() {
        let wrong = Figure::exact("fsync", 59.0, 60.0);
        assert_eq!(verdict(&wrong, ON), Verdict::False);
        assert_eq!(verdict(&wrong, OTHER), Verdict::False, "another sampler's excuse does not count");
        assert_eq!(verdict(&Figure::within(0.005, "pages", 8150.0, 8192.0), ON), Verdict::False);
        assert_eq!(verdict(&Figure::within(0.005, "pages", 1.0, 0.0), ON), Verdict::False, "nothing is nothing");
        assert_eq!(verdict(&Figure::exact("fsync", f64::NAN, 60.0), ON), Verdict::False);
    }

    #[test]
    fn a_silent_zero_is_false_and_a_reason_excuses() {
        let nothing = Figure::exact("fsync", 0.0, 60.0);
        assert_eq!(verdict(&nothing, ""), Verdict::False);
        assert_eq!(verdict(&Figure::exact("fsync", 0.0, 0.0), ""), Verdict::False);
        assert_eq!(verdict(&nothing, MUTE), Verdict::False);
        assert_eq!(verdict(&nothing, OFF), Verdict::Degraded);
        let refused = OFF.replace("no BTF", "fsync_exit is refused: math between pointers");
        assert_eq!(verdict(&nothing, &refused), Verdict::False);
        assert_eq!(verdict(&nothing, LAME), Verdict::Degraded);
    }

    #[test]
    fn a_right_figure_is_true_but_not_of_a_sampler_that_is_off() {
        let right = Figure::within(0.005, "pages", 8190.0, 8192.0);
        assert_eq!(verdict(&right, ON), Verdict::True);
        assert_eq!(verdict(&right, LAME), Verdict::True);
        assert_eq!(verdict(&right, OFF), Verdict::Degraded);
    }

    #[test]
    fn a_method_that_works_outweighs_one_that_does_not() {
        assert_eq!(verdict(&Figure::exact("fsync", 1.0, 2.0), &format!("{OFF}\n{ON}")), Verdict::Degraded);
        assert_eq!(verdict(&Figure::exact("fsync", 2.0, 2.0), &format!("{OFF}\n{ON}")), Verdict::True);
    }
}
