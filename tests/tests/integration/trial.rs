//! Trials from functions that return `anyhow::Result`, ignored where something is missing.

use anyhow::Result;
use kafkascope_tests::testbed::{Need, which};
use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::geteuid;

/// The name of a trial that needs nothing, and what it does.
pub(crate) type Plain = (&'static str, fn() -> Result<()>);

/// A trial that runs only where `needs` are met.
pub(crate) fn trial(
    name: impl Into<String>,
    needs: &'static [Need],
    run: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    unless(name, || needs.iter().find_map(|need| need.lack()), run)
}

/// A trial that needs root and `tools` as well. Where there is a `lack` already, it is ignored for that.
pub(crate) fn as_root(
    (name, run): Plain,
    lack: Option<String>,
    needs: &'static [Need],
    tools: &'static [&'static str],
) -> Trial {
    let lack = move || {
        let not_root = (!geteuid().is_root()).then(|| "needs root".to_owned());
        let no_need = || needs.iter().find_map(|need| need.lack());
        let no_tool =
            || tools.iter().find(|tool| which(tool).is_none()).map(|tool| format!("no {tool} on this machine"));
        not_root.or(lack).or_else(no_need).or_else(no_tool)
    };
    unless(name, lack, run)
}

fn unless(
    name: impl Into<String>,
    lack: impl FnOnce() -> Option<String> + Send + 'static,
    run: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = lack() {
            return Ok(Completion::ignored_with(reason));
        }
        run().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
