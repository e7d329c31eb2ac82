//! The programs that are tested: named by the environment, or what cargo builds in the profile of this program.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

/// A program of a package of the same name.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    variable: &'static str,
    path: OnceLock<Result<PathBuf, String>>,
}

impl Program {
    /// The program `name`; its path may be in the environment variable `variable`.
    pub(crate) const fn new(name: &'static str, variable: &'static str) -> Self {
        Self { name, variable, path: OnceLock::new() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> Result<&PathBuf> {
        let path = self.path.get_or_init(|| match env::var_os(self.variable) {
            Some(path) => Ok(path.into()),
            None => self.build().map_err(|error| format!("{error:#}")),
        });
        path.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn build(&self) -> Result<PathBuf> {
        // Where this program is, is where cargo puts the other: target/debug/deps/integration, target/debug/NAME.
        let here = env::current_exe()?;
        let profile = here.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name != "deps"));
        let profile = profile.context("this program is in no folder")?;
        let name = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(crate::testbed::workspace());
        cargo.args(["build", "--quiet", "--package", self.name, "--bin", self.name, "--profile", name]);
        let target = profile.parent().context("the profile's folder is in no folder")?;
        let status = cargo.arg("--target-dir").arg(target).status().context("cannot run cargo")?;
        ensure!(status.success(), "{} does not build", self.name);
        Ok(profile.join(self.name))
    }
}
