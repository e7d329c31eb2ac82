//! What the operator types, as the process takes it.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::process::{Process, command};
use crate::rig::DEADLINE;

const ROUTE: &str = "127.0.0.1:0=127.0.0.1:9";

/// What a process that ends by itself leaves; one that serves instead is killed.
fn output(arguments: &[&str]) -> Output {
    outcome(command().args(arguments))
}

fn outcome(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn the_command_of_the_readme_serves() {
    let readme = include_str!("../../../README.md").replace("\\\n", " ");
    let line = readme.lines().find(|line| line.starts_with("target/dist/kafkascope-proxy ")).expect("a command");
    // Its ports may be taken here.
    let line = line.replace("0.0.0.0:19092=", "127.0.0.1:0=").replace("--admin 127.0.0.1:9600", "--admin 127.0.0.1:0");
    let mut readmes = command();
    readmes.args(line.split_whitespace().skip(1));
    let process = Process::open(readmes, 1);
    assert_eq!(process.get("/healthz").0, 200);
}

#[test]
fn a_wrong_configuration_is_status_64_and_one_message_with_the_key() {
    let table: &[(&[&str], &[&str])] = &[
        (&[], &["--route"]),
        (&["--route", "nonsense"], &["--route", "nonsense"]),
        (&["--route", ROUTE, "--workers", "none"], &["--workers", "none"]),
        (&["--route", ROUTE, "--client-key", "ip"], &["--client-key", "ip", "id+address"]),
        (&["--route", ROUTE, "--max-series", "0"], &["--max-series", "\"0\""]),
        (&["--route", ROUTE, "--otlp-endpoint", "collector"], &["--otlp-endpoint", "collector", "http://"]),
        (&["--route", ROUTE, "--otlp-protocol", "http/json"], &["--otlp-protocol", "http/json", "grpc"]),
        (&["--route", ROUTE, "--export-interval", "now"], &["--export-interval", "now"]),
        (&["--route", ROUTE, "--trace-sample-ratio", "2"], &["--trace-sample-ratio", "\"2\"", "0 and 1"]),
        (&["--route", ROUTE, "--max-connections", "-1"], &["--max-connections", "\"-1\""]),
        (&["--route", ROUTE, "--drain-timeout", "-3s"], &["--drain-timeout", "\"-3s\""]),
        (&["--route", ROUTE, "--expiry", "soon"], &["--expiry", "soon"]),
        (&["--route", ROUTE, "--drain-timeout"], &["--drain-timeout"]),
        (&["--route", ROUTE, "--no-such-flag"], &["--no-such-flag"]),
        (&["--route", ROUTE, "stray"], &["stray"]),
        (&["--route", ROUTE, "--config", "/nowhere/proxy.toml"], &["--config", "/nowhere/proxy.toml"]),
    ];
    for (arguments, parts) in table {
        let Output { status, stderr, stdout } = output(arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty());
        for part in *parts {
            assert!(stderr.contains(part), "{arguments:?}: {stderr:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_wrong_file_is_status_64_and_a_message_with_file_and_key() {
    for (text, parts) in [
        ("colour = 'red'", &["colour"][..]),
        ("route = ['127.0.0.1:0=127.0.0.1:9']\nworkers = 0", &["workers", "0"]),
        ("route = ['127.0.0.1:0=127.0.0.1:9']\ndrain-timeout = 30", &["drain-timeout", "30", "10s"]),
        ("route = ['nonsense']", &["route", "nonsense"]),
        ("route = 7", &["route"]),
        ("workers = ", &["workers"]),
    ] {
        let file = file(text);
        let path = file.path().to_str().unwrap();
        let Output { status, stderr, .. } = output(&["--config", path]);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64), "{text:?}: {stderr}");
        for part in parts.iter().chain([&path]) {
            assert!(stderr.contains(part), "{text:?}: {stderr:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_wrong_variable_is_status_64_and_a_message_with_its_name() {
    for (name, value) in [
        ("KAFKASCOPE_WORKERS", "many"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no pair"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon"),
    ] {
        let Output { status, stderr, .. } =
            outcome(command().args(["--route", ROUTE, "--otlp-endpoint", "http://127.0.0.1:4317"]).env(name, value));
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64));
        assert!(stderr.contains(name) && stderr.contains(value), "{stderr:?}");
    }
}

#[test]
fn help_and_version_are_no_mistake() {
    for (flag, part) in [("--help", "Examples:"), ("-h", "--route"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let Output { status, stdout, stderr } = output(&[flag]);
        assert_eq!(status.code(), Some(0));
        assert!(String::from_utf8(stdout).unwrap().contains(part) && stderr.is_empty());
    }
}

#[test]
fn an_address_in_use_is_status_71_and_a_message_with_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for arguments in
        [["--route", &format!("{taken}=127.0.0.1:9"), "--admin", "127.0.0.1:0"], ["--route", ROUTE, "--admin", &taken]]
    {
        let Output { status, stderr, .. } = output(&arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(71), "{stderr}");
        assert!(stderr.contains(&taken) && stderr.contains("in use"), "{stderr:?}");
    }
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = file("route = ['127.0.0.1:0=127.0.0.1:9']\ndrain-timeout = '7s'");
    let layers: [(&[&str], Option<&str>, &str); 3] =
        [(&[], None, "7s"), (&[], Some("8s"), "8s"), (&["--drain-timeout", "9s"], Some("8s"), "9s")];
    for (flags, variable, effective) in layers {
        let mut command = command();
        command.arg("--config").arg(file.path()).args(flags);
        if let Some(value) = variable {
            command.env("KAFKASCOPE_DRAIN_TIMEOUT", value);
        }
        let mut process = Process::run(command, &[]);
        process.logged("route open");
        process.signal(Signal::TERM);
        let line = process.logged("draining");
        assert!(line.contains(&format!("timeout={effective}")), "{line}");
    }
}

#[test]
fn a_variable_may_hold_several_routes() {
    let mut command = command();
    command.env("KAFKASCOPE_ROUTE", "127.0.0.1:0=127.0.0.1:9 [::1]:0=kafka-2.internal:9092,id=2");
    let mut process = Process::run(command, &[]);
    assert!(process.logged("route open").contains("upstream=127.0.0.1:9"));
    assert!(process.logged("route open").contains("upstream=kafka-2.internal:9092"));
}
