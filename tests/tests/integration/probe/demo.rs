//! The demo's host pane with real brokers, and the demo of somebody who is not root.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::java;
use kafkascope_tests::process::tied;
use kafkascope_tests::proxy;
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use serde_json::Value;

use super::privileged;
use super::privileges::{AS_NOBODY, Public};
use crate::trial::as_root;

const DEMO: &str = env!("CARGO_BIN_EXE_kafkascope-demo");

pub(super) fn trials() -> Vec<Trial> {
    vec![
        privileged(
            ("probe::demo::the_host_pane_shows_real_brokers_and_the_proxy", brokers),
            &[Need::Kafka],
            &["unshare"],
        ),
        as_root(("probe::demo::nobody_sees_the_clients_and_how_to_get_the_host_pane", nobody), None, &[], &["setpriv"]),
    ]
}

fn brokers() -> Result<()> {
    let mut demo = Command::new(DEMO);
    demo.args(["--kafka", "4", "--seconds", "8", "--json"]);
    let state: Value = serde_json::from_str(&java::run("the demo", &demo, Duration::from_secs(300))?)?;
    let host = state.get("host").filter(|host| host.is_object()).with_context(|| format!("no host: {state}"))?;
    let list = |key: &str| host.get(key).and_then(Value::as_array).with_context(|| format!("no {key}: {host}"));
    for name in ["broker-1", "broker-2", "broker-3", "proxy-"] {
        // Brokers of other tests, and of other demos, may be there, too: then these have a number behind their names.
        let shown = list("processes")?.iter().filter(|process| {
            let is_named = process.get("name").and_then(Value::as_str).is_some_and(|shown| shown.starts_with(name));
            is_named && process.get("up") == Some(&Value::Bool(true))
        });
        let is_broker = name.starts_with("broker");
        let figures: &[(&str, f64)] = if is_broker {
            &[("memory_bytes", 5e7), ("open_files", 50.0), ("cpu_percent", 0.0), ("page_cache_hit_ratio", 0.0)]
        } else {
            &[("memory_bytes", 1e6), ("open_files", 5.0), ("cpu_percent", 0.0)]
        };
        let figure = |process: &Value, key: &str| process.get(key).and_then(Value::as_f64);
        let mut whole = shown.filter(|process| {
            figures.iter().all(|(key, least)| figure(process, key).is_some_and(|value| value > *least))
                && (!is_broker || figure(process, "gc_pauses").is_some())
        });
        ensure!(whole.next().is_some(), "no whole {name}: {host}");
    }
    ensure!(!list("disks")?.is_empty(), "no disk: {host}");
    for key in ["memory_available_bytes", "tcp_retransmits_per_s"] {
        ensure!(host.get(key).and_then(Value::as_f64).is_some(), "no {key}: {host}");
    }
    // Only of the namespaces of others may something be amiss.
    let off = list("samplers_off")?.iter().filter_map(|off| off.get("sampler")?.as_str());
    ensure!(off.clone().all(|sampler| sampler == "sock_diag"), "off: {:?}", off.collect::<Vec<_>>());
    Ok(())
}

/// Also after root has run one on the same machine.
fn nobody() -> Result<()> {
    let (demo, proxy) = (Public::of(Path::new(DEMO))?, Public::of(proxy::program()?)?);
    let mut command = Command::new("setpriv");
    command.args(&AS_NOBODY[1..]).arg(demo.program()).args(["--seconds", "3", "--json"]);
    let output = tied(command.env("KAFKASCOPE_PROXY", proxy.program())).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let state: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(state.get("host") == Some(&Value::Null), "{state}");
    let clients = state.get("clients").and_then(Value::as_array).context("no clients")?;
    ensure!(clients.len() >= 5, "{clients:?}");
    let how = format!("{} --seconds 3 --json", demo.program());
    ensure!(said.contains("no host pane") && said.contains("sudo env") && said.contains(&how), "{said}");
    Ok(())
}
