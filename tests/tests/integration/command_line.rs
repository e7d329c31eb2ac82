//! What is wrong on the command line is said with its name, before any port is bound.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use kafkascope_tests::proxy;
use libtest_mimic::Trial;

use crate::trial::trial;

/// `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("command_line::a_wrong_flag_ends_with_64_and_its_name", &[], wrong_flags),
        trial("command_line::a_wrong_file_ends_with_64_and_the_name_of_the_key", &[], wrong_files),
        trial("command_line::a_wrong_environment_ends_with_64_and_its_name", &[], wrong_environment),
        trial("command_line::help_and_version_end_with_0", &[], help),
    ]
}

/// A route that cannot be bound: whoever tries to bind before all is checked ends with another status.
fn taken() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let route = format!("{}=127.0.0.1:9092", listener.local_addr()?);
    Ok((listener, route))
}

fn wrong_flags() -> Result<()> {
    let (_listener, route) = taken()?;
    let cases: [(&[&str], &str); 14] = [
        (&["--route", "nonsense"], "route"),
        (&["--route", "127.0.0.1:99999=127.0.0.1:9092"], "route"),
        (&["--route", "127.0.0.1:0=:9092"], "route"),
        (&["--route", "127.0.0.1:0=127.0.0.1:9092,colour=red"], "route"),
        (&["--admin", "nowhere"], "admin"),
        (&["--observe", "sometimes"], "observe"),
        (&["--workers", "0"], "workers"),
        (&["--workers", "many"], "workers"),
        (&["--max-connections=-1"], "max-connections"),
        (&["--connect-timeout", "soon"], "connect-timeout"),
        (&["--drain-timeout=-3s"], "drain-timeout"),
        (&["--otlp-endpoint", "not a url"], "otlp-endpoint"),
        (&["--otlp-protocol", "pigeon"], "otlp-protocol"),
        (&["--trace-sample-ratio", "1.5"], "trace-sample-ratio"),
    ];
    for (flags, key) in cases {
        let mut command = proxy::command()?;
        command.args(["--route", &route]).args(flags);
        refused(&mut command, key)?;
    }
    refused(&mut proxy::command()?, "route")
}

fn wrong_files() -> Result<()> {
    let (_listener, route) = taken()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kafkascope.toml");
    let cases = [
        ("workers = \"many\"", "workers"),
        ("drain-timeout = \"later\"", "drain-timeout"),
        ("colour = \"red\"", "colour"),
        ("workers = [1]", "workers"),
        ("this is not toml", "kafkascope.toml"),
    ];
    for (text, key) in cases {
        fs::write(&file, text)?;
        let mut command = proxy::command()?;
        command.args(["--route", &route, "--config"]).arg(&file);
        refused(&mut command, key)?;
    }
    let mut command = proxy::command()?;
    command.args(["--route", &route, "--config"]).arg(folder.path().join("absent.toml"));
    refused(&mut command, "absent.toml")
}

fn wrong_environment() -> Result<()> {
    let (_listener, route) = taken()?;
    let mut command = proxy::command()?;
    command.args(["--route", &route]).env("KAFKASCOPE_DRAIN_TIMEOUT", "later");
    refused(&mut command, "DRAIN_TIMEOUT")
}

fn help() -> Result<()> {
    for flag in ["--help", "--version"] {
        let output = proxy::command()?.arg(flag).output()?;
        ensure!(output.status.success() && !output.stdout.is_empty(), "{flag}: {output:?}");
    }
    Ok(())
}

fn refused(command: &mut Command, key: &str) -> Result<()> {
    let Output { status, stderr, .. } = command.output()?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.code() == Some(USAGE), "{command:?}: {status} instead of {USAGE}: {said}");
    ensure!(said.contains(key), "{command:?}: the message does not name {key}: {said}");
    Ok(())
}
