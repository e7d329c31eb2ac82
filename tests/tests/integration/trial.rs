//! Trials from functions that return `anyhow::Result`, ignored where something is missing.

use anyhow::Result;
use kafkascope_tests::testbed::Need;
use libtest_mimic::{Completion, Failed, Trial};

/// The name of a trial that needs nothing, and what it does.
pub(crate) type Plain = (&'static str, fn() -> Result<()>);

/// A trial that runs only where `needs` are met.
pub(crate) fn trial(
    name: impl Into<String>,
    needs: &'static [Need],
    run: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = needs.iter().find_map(|need| need.lack()) {
            return Ok(Completion::ignored_with(reason));
        }
        run().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
