//! What is wrong on the probe's command line is said with its key and value, before anything is loaded or bound.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use kafkascope_tests::probe;
use libtest_mimic::Trial;

use crate::trial::trial;

/// `EX_USAGE` and `EX_OSERR` of sysexits.h.
const USAGE: i32 = 64;
const OSERR: i32 = 71;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("probe::flags::a_wrong_flag_ends_with_64_and_its_name_and_value", &[], wrong_flags),
        trial("probe::flags::a_wrong_file_ends_with_64_and_the_name_of_the_key", &[], wrong_files),
        trial("probe::flags::a_wrong_environment_ends_with_64_and_its_name", &[], wrong_environment),
        trial("probe::flags::an_address_that_is_taken_ends_with_71_and_is_named", &[], taken),
        trial("probe::flags::help_teaches", &[], help),
    ]
}

fn wrong_flags() -> Result<()> {
    let cases: [(&str, &str); 19] = [
        ("admin", "nowhere"),
        ("watch", "connect"),
        ("watch", "=pattern"),
        ("watch", "connect=("),
        ("watch", "connect=cgroup:("),
        ("watch", "connect=port:99999"),
        ("expect", ""),
        ("forget-after", "soon"),
        ("samplers", "disk,cpu"),
        ("partitions", "maybe"),
        ("max-files", "0"),
        ("max-files", "2000000"),
        ("slow", "0s"),
        ("otlp-endpoint", "not a url"),
        ("otlp-protocol", "pigeon"),
        ("export-interval=-1s", "-1s"),
        ("max-peers", "-1"),
        ("max-series", "many"),
        ("expiry", "never"),
    ];
    for (key, value) in cases {
        let flag = match key.split_once('=') {
            Some(_) => format!("--{key}"),
            None => format!("--{key}={value}"),
        };
        let key = key.split('=').next().unwrap_or(key);
        // Of `doctor` as well.
        for arguments in [vec![flag.as_str()], vec![flag.as_str(), "doctor"]] {
            refused(probe::command()?.args(arguments), USAGE, &[key, value])?;
        }
    }
    refused(probe::command()?.arg("--colour=red"), USAGE, &["--colour"])?;
    refused(probe::command()?.arg("physician"), USAGE, &["physician"])
}

fn wrong_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("probe.toml");
    let cases = [
        ("slow = \"later\"", "slow"),
        ("samplers = \"cpu\"", "samplers"),
        ("watch = [\"connect\"]", "watch"),
        ("colour = \"red\"", "colour"),
        ("max-files = [1]", "max-files"),
        ("this is not toml", "probe.toml"),
    ];
    for (text, key) in cases {
        fs::write(&file, text)?;
        refused(probe::command()?.arg("--config").arg(&file), USAGE, &[key])?;
    }
    refused(probe::command()?.arg("--config").arg(folder.path().join("absent.toml")), USAGE, &["absent.toml"])
}

fn wrong_environment() -> Result<()> {
    refused(probe::command()?.env("KAFKASCOPE_SLOW", "later"), USAGE, &["SLOW", "later"])?;
    refused(probe::command()?.env("KAFKASCOPE_SAMPLERS", "cpu"), USAGE, &["SAMPLERS", "cpu"])
}

fn taken() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    refused(probe::command()?.args(["--admin", &address]), OSERR, &["--admin", &address])
}

/// Whoever has never seen it knows afterwards what it does, each flag with its default, and what to type.
fn help() -> Result<()> {
    let version = probe::command()?.arg("--version").output()?;
    ensure!(version.status.success() && version.stdout.starts_with(b"kafkascope-probe "), "{version:?}");
    let output = probe::command()?.arg("--help").output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{said}");
    let flags = [
        "--admin",
        "--watch",
        "--expect",
        "--forget-after",
        "--samplers",
        "--partitions",
        "--max-files",
        "--slow",
        "--otlp-endpoint",
        "--otlp-protocol",
        "--export-interval",
        "--max-peers",
        "--max-topics",
        "--max-series",
        "--expiry",
        "--config",
    ];
    for flag in flags {
        let at = said.find(&format!("      {flag} ")).with_context(|| format!("no {flag}:\n{said}"))?;
        let told: String =
            said.get(at..).unwrap_or_default().lines().skip(1).take_while(|line| !line.is_empty()).collect();
        ensure!(told.trim().len() > 20, "{flag} is not explained:\n{said}");
    }
    // Lines are broken where the terminal ends.
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["doctor", "Examples:", "[default: 100ms]", "KAFKASCOPE_ADMIN", "Exit status:", "RUST_LOG"] {
        ensure!(words.contains(part), "no {part}:\n{said}");
    }
    Ok(())
}

fn refused(command: &mut Command, code: i32, parts: &[&str]) -> Result<()> {
    let Output { status, stderr, .. } = command.output()?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.code() == Some(code), "{command:?}: {status} instead of {code}: {said}");
    for part in parts {
        ensure!(said.contains(part), "{command:?}: the message does not name {part}: {said}");
    }
    Ok(())
}
