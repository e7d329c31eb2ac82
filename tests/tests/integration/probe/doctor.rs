//! `kafkascope-probe doctor` names every sampler, and its exit status tells scripts whether anything is missing.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::probe;
use libtest_mimic::Trial;

use super::privileges::{AS_NOBODY, Public};
use super::{KERNEL_SAMPLERS, privileged};
use crate::trial::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("probe::doctor::names_every_sampler_and_says_whether_anything_is_missing", &[], here),
        trial("probe::doctor::says_without_any_sampler_that_they_are_switched_off", &[], switched_off),
        privileged(("probe::doctor::finds_every_sampler_whole_as_root", as_root), &[], &["unshare"]),
        privileged(("probe::doctor::says_to_nobody_what_is_missing", as_nobody), &[], &["setpriv"]),
    ]
}

/// What it prints.
struct Said(String);

impl Said {
    fn by(command: &mut Command) -> Result<Self> {
        let output = command.arg("doctor").output()?;
        let said = Self(String::from_utf8(output.stdout)?);
        let lacks = said.0.lines().filter(|line| line.starts_with("  -- ")).count();
        let code = i32::from(lacks > 0);
        ensure!(output.status.code() == Some(code), "{} with {lacks} lacking:\n{}", output.status, said.0);
        let last = said.0.lines().last().unwrap_or_default();
        let expected = if lacks == 0 { "everything works".to_owned() } else { format!("{lacks} thing") };
        ensure!(last.starts_with(&expected), "{last} with {lacks} lacking:\n{}", said.0);
        Ok(said)
    }

    /// Mark and text of a sampler.
    fn sampler(&self, name: &str) -> Result<(bool, &str)> {
        let section = self.0.split_once("\nsamplers\n").context("no samplers")?.1;
        let lines = section.lines().take_while(|line| line.starts_with(' '));
        let mut words = lines.filter_map(|line| line.trim_start().split_once(' '));
        let found = words.find_map(|(mark, rest)| {
            let text = rest.strip_prefix(name)?.strip_prefix(' ')?;
            Some((mark == "ok", text.trim()))
        });
        found.with_context(|| format!("no {name}:\n{}", self.0))
    }
}

fn here() -> Result<()> {
    let said = Said::by(&mut probe::command()?)?;
    for name in KERNEL_SAMPLERS {
        let (is_whole, text) = said.sampler(name)?;
        let state = if is_whole { "on (" } else { "" };
        ensure!(text.starts_with(state) && text.len() > 5, "{name}:\n{}", said.0);
    }
    said.sampler("sock_diag")?;
    for part in [
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_NET_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_DAC_READ_SEARCH",
        "BTF",
        "tracefs",
        "cgroup2",
    ] {
        ensure!(said.0.contains(part), "no {part}:\n{}", said.0);
    }
    Ok(())
}

fn switched_off() -> Result<()> {
    let said = Said::by(probe::command()?.args(["--samplers", "none"]))?;
    for name in KERNEL_SAMPLERS {
        let (is_whole, text) = said.sampler(name)?;
        ensure!(!is_whole && text.contains("--samplers"), "{name}:\n{}", said.0);
    }
    Ok(())
}

fn as_root() -> Result<()> {
    let said = Said::by(&mut before(probe::with_tracing(), probe::program()?.to_str().context("a path")?))?;
    for name in KERNEL_SAMPLERS {
        let (is_whole, _) = said.sampler(name)?;
        ensure!(is_whole, "{name}:\n{}", said.0);
    }
    Ok(())
}

fn as_nobody() -> Result<()> {
    let public = Public::new()?;
    let said = Said::by(&mut before(AS_NOBODY, public.program()))?;
    for name in KERNEL_SAMPLERS {
        let (is_whole, text) = said.sampler(name)?;
        ensure!(!is_whole && text.starts_with("off: "), "{name}:\n{}", said.0);
    }
    Ok(())
}

fn before(words: &[&str], program: &str) -> Command {
    let words: Vec<_> = words.iter().copied().chain([program]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
