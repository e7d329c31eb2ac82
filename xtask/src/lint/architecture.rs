//! Rules about the workspace that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Which of our packages each of them may use, tests included. A member that is not named here is an error, so that
/// a new one gets its place on purpose.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("kafkascope-protocol", &[]),
    ("kafkascope-telemetry", &["kafkascope-protocol"]),
    ("kafkascope-service", &["kafkascope-protocol", "kafkascope-telemetry"]),
    ("kafkascope-proxy", &["kafkascope-protocol", "kafkascope-telemetry", "kafkascope-service"]),
    ("kafkascope-probe-ebpf", &[]),
    (
        "kafkascope-probe",
        &["kafkascope-protocol", "kafkascope-telemetry", "kafkascope-service", "kafkascope-probe-ebpf"],
    ),
    ("kafkascope-tests", &["kafkascope-protocol", "kafkascope-telemetry", "kafkascope-proxy", "kafkascope-probe"]),
    ("kafkascope-bench", &["kafkascope-protocol", "kafkascope-telemetry"]),
    ("xtask", &[]),
];

/// Where unsafe code may stand: kernel programs, and what loads them.
const MAY_BE_UNSAFE: [&str; 2] = ["kafkascope-probe-ebpf", "kafkascope-probe"];

/// What must not be named in `proxy/src/forward`: it moves bytes and calls a tap.
const UNKNOWN_TO_THE_FORWARDER: [&str; 2] = ["kafkascope_protocol", "kafkascope_telemetry"];

pub(super) fn lints_are_inherited() -> Result<()> {
    for (path, manifest) in members()? {
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if inherits != Some(true) {
            bail!("{}: add `[lints]` with `workspace = true`", path.display());
        }
        if MAY_BE_UNSAFE.contains(&package_name(&path, &manifest)?) {
            continue;
        }
        for root in ["src/lib.rs", "src/main.rs"].map(|file| path.with_file_name(file)) {
            if root.exists() && !fs::read_to_string(&root)?.contains("#![forbid(unsafe_code)]") {
                bail!("{}: add `#![forbid(unsafe_code)]`", root.display());
            }
        }
    }
    Ok(())
}

pub(super) fn dependencies_point_one_way() -> Result<()> {
    for (path, manifest) in members()? {
        let name = package_name(&path, &manifest)?;
        let Some((_, allowed)) = ALLOWED.iter().find(|(member, _)| *member == name) else {
            bail!("{name} is new: give it its place in {}", file!());
        };
        for used in dependencies(&manifest) {
            let ours = ALLOWED.iter().any(|(member, _)| *member == used);
            if ours && !allowed.contains(&used) {
                bail!("{}: {name} must not depend on {used}", path.display());
            }
        }
    }
    Ok(())
}

pub(super) fn forwarder_knows_no_kafka() -> Result<()> {
    let source = workspace::root().join("proxy/src");
    let mut files = vec![source.join("forward.rs")];
    collect(&source.join("forward"), &mut files)?;
    for file in files.into_iter().filter(|file| file.exists()) {
        for (number, line) in fs::read_to_string(&file)?.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = UNKNOWN_TO_THE_FORWARDER.iter().find(|word| code.contains(*word)) {
                bail!("{}:{}: the forwarder must not know {word}", file.display(), number + 1);
            }
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { collect(&path, files)? } else { files.push(path) }
        }
    }
    Ok(())
}

/// The path and content of each member's manifest.
fn members() -> Result<Vec<(PathBuf, toml::Table)>> {
    let root = workspace::root();
    let manifest = read(&root.join("Cargo.toml"))?;
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members"));
    let members = members.and_then(toml::Value::as_array).context("Cargo.toml: no workspace.members")?;
    let paths = members.iter().filter_map(toml::Value::as_str).map(|member| root.join(member).join("Cargo.toml"));
    paths.map(|path| Ok((path.clone(), read(&path)?))).collect()
}

fn read(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("cannot parse {}", path.display()))
}

fn package_name<'a>(path: &Path, manifest: &'a toml::Table) -> Result<&'a str> {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    name.with_context(|| format!("{}: no package.name", path.display()))
}

/// Names of all dependencies: normal, dev and build ones, for every target.
fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    let for_targets = manifest.get("target").and_then(toml::Value::as_table);
    let for_targets = for_targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    let tables = for_targets.chain([manifest]).flat_map(|table| {
        ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().filter_map(|kind| table.get(kind))
    });
    let named = tables.filter_map(toml::Value::as_table).flatten();
    named.map(|(name, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_renamed_dev_and_target_dependencies() {
        let manifest: toml::Table = "[dependencies]\na = '1'\nb = { package = 'c', version = '1' }\n\
             [dev-dependencies]\nd.workspace = true\n[target.'cfg(unix)'.dependencies]\ne = '1'"
            .parse()
            .unwrap();
        let mut names = dependencies(&manifest);
        names.sort_unstable();
        assert_eq!(names, ["a", "c", "d", "e"]);
    }
}
