//! Whether what is in `deploy/` is accepted by what will read it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Verdict;
use crate::workspace::which;
use crate::{setup, step, workspace};

/// The oldest version that the manifests say they need, and the newest that the checker knows.
const KUBERNETES: [&str; 2] = ["1.30", "1.37"];

/// What `systemd-analyze security` may find at most, in tenths: 100 is a service without any protection.
///
/// The probe must see other processes and load programs into the kernel, the proxy only has sockets.
const UNITS: [(&str, &str); 2] = [("kafkascope-probe.service", "30"), ("kafkascope-proxy.service", "15")];

/// Against Kubernetes' own schemas, with nothing allowed that they do not name.
pub(super) fn manifests() -> Result<Verdict> {
    let modules = setup::kubernetes_validate();
    if !modules.is_dir() {
        return Ok(Verdict::NotChecked("kubernetes-validate is missing"));
    }
    let mut check = Command::new("python3");
    check.env("PYTHONPATH", modules).args(["-m", "kubernetes_validate", "--strict"]);
    for version in KUBERNETES {
        check.args(["--kubernetes-version", version]);
    }
    let folder = deploy().join("kubernetes");
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let told = step::answer(check.args(&files))?;
    // It takes a document that it does not recognise for a good one.
    let kinds: usize = files.iter().map(|file| Ok(documents(&fs::read_to_string(file)?))).sum::<Result<_>>()?;
    let passed = told.lines().filter(|line| line.contains(" passed for ")).count();
    if passed != kinds * KUBERNETES.len() {
        bail!("{passed} documents passed of {kinds} in {} versions of Kubernetes:\n{told}", KUBERNETES.len());
    }
    Ok(Verdict::Ok)
}

fn documents(manifest: &str) -> usize {
    manifest.lines().filter(|line| line.starts_with("kind: ")).count()
}

/// That systemd understands every line, and how much the services could do if they were taken over.
pub(super) fn units() -> Result<Verdict> {
    if which("systemd-analyze").is_none() {
        return Ok(Verdict::NotChecked("systemd-analyze is missing"));
    }
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments);
        command
    };
    if !step::answer(&mut analyze(&["--help"])).is_ok_and(|help| help.contains("--offline")) {
        return Ok(Verdict::NotChecked("this systemd-analyze can only look at running services"));
    }
    // The programs are not installed here, and a unit whose program is missing is an error.
    let folder = workspace::root().join("target/units");
    fs::create_dir_all(&folder)?;
    let program = env::current_exe()?;
    for (name, threshold) in UNITS {
        let unit = fs::read_to_string(deploy().join("systemd").join(name))?;
        let unit = with_program(&unit, &program).with_context(|| format!("{name}: no ExecStart"))?;
        let path = folder.join(name);
        fs::write(&path, unit)?;
        step::answer(analyze(&["verify", "--man=no", "--recursive-errors=no"]).arg(&path))?;
        let security = ["security", "--no-pager", "--offline=true", "--threshold", threshold];
        step::answer(analyze(&security).arg(&path)).with_context(|| format!("{name} may do too much"))?;
    }
    Ok(Verdict::Ok)
}

/// The unit with another program, but the same arguments.
fn with_program(unit: &str, program: &Path) -> Option<String> {
    let key = "ExecStart=";
    let line = unit.lines().find(|line| line.starts_with(key))?;
    let arguments = line.split_once(' ').map_or("", |(_, arguments)| arguments);
    Some(unit.replace(line, &format!("{key}{} {arguments}", program.display())))
}

/// By a collector that has the parts which the configuration names.
pub(super) fn collector() -> Result<Verdict> {
    let collector = workspace::testbed().join("collector/otelcol");
    if !collector.is_file() {
        return Ok(Verdict::NotChecked("there is no collector (cargo xtask setup --only collector)"));
    }
    let mut validate = Command::new(collector);
    step::answer(validate.args(["validate", "--config"]).arg(deploy().join("collector/config.yaml")))?;
    Ok(Verdict::Ok)
}

fn deploy() -> PathBuf {
    workspace::root().join("deploy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_gets_the_same_arguments() {
        let unit = "[Service]\nExecStart=/usr/local/bin/probe --admin 127.0.0.1:1\nRestart=always\n";
        let changed = with_program(unit, Path::new("/bin/other")).unwrap();
        assert_eq!(changed, "[Service]\nExecStart=/bin/other --admin 127.0.0.1:1\nRestart=always\n");
        assert!(with_program("[Service]\n", Path::new("/bin/other")).is_none());
    }
}
