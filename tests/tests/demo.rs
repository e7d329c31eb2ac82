//! The demo as a user runs it: what it reports is what its clients do, and it leaves nothing running.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use kafkascope_tests::{eventually::eventually, http, proxy::Client};
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use serde::Deserialize;

/// A busy machine may need a while to build the proxy first.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Deserialize)]
struct State {
    clients: Vec<Client>,
    host: Option<Host>,
    collector: Collector,
    check: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Collector {
    metric_points: u64,
    spans: u64,
}

#[derive(Debug, Deserialize)]
struct Host {
    processes: Vec<Process>,
    memory_available_bytes: Option<f64>,
    pressure_percent: Option<BTreeMap<String, f64>>,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    up: bool,
    cpu_percent: Option<f64>,
    memory_bytes: Option<f64>,
    open_files: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Line {
    client_id: String,
    said: u64,
    seen: u64,
}

#[test]
fn what_it_reports_is_what_its_clients_do() {
    let demo = Demo::start(&["--seconds", "8", "--json"]);
    let proxy = demo.proxy_name();
    let ended = demo.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let state: State = serde_json::from_str(&ended.stdout).unwrap();
    let client = |id: &str| state.clients.iter().find(|client| client.client_id == id).unwrap();
    let keys = |counts: &BTreeMap<String, u64>| counts.keys().cloned().collect::<Vec<_>>();

    let good = client("orders-good");
    assert_eq!((keys(&good.acks), keys(&good.codecs)), (vec!["all".into()], vec!["lz4".into()]));
    assert!(good.batch_records_mean.unwrap() > 30.0, "{good:?}");
    assert!(good.software.as_deref().unwrap().contains("librdkafka"), "{good:?}");
    assert!(good.produce_ms.unwrap().count > 0, "{good:?}");

    let chatty = client("clicks-chatty");
    assert_eq!((keys(&chatty.acks), keys(&chatty.codecs)), (vec!["1".into()], vec!["none".into()]));
    assert_eq!(chatty.batch_records_mean, Some(1.0), "{chatty:?}");
    // 100 bytes of value, the batch's head of 61, and the fields around the value.
    assert!((160.0..200.0).contains(&chatty.batch_bytes_mean.unwrap()), "{chatty:?}");

    let careless = client("logs-careless");
    assert_eq!((keys(&careless.acks), keys(&careless.codecs)), (vec!["0".into()], vec!["none".into()]));
    assert!(careless.produce_ms.is_none_or(|latency| latency.count == 0), "nobody answers it: {careless:?}");

    for id in ["billing-steady", "audit-slow"] {
        let consumer = client(id);
        assert!(consumer.acks.is_empty() && consumer.fetch_wait.values().sum::<u64>() > 0, "{consumer:?}");
    }

    assert_eq!(state.check.len(), 5, "{state:?}");
    for Line { client_id, said, seen } in &state.check {
        assert!(*said > 0 && said == seen, "{client_id} counts {said} records, the proxy {seen}\n{}", ended.stderr);
    }
    assert!(state.collector.metric_points > 0 && state.collector.spans > 0, "{:?}", state.collector);

    if !geteuid().is_root() {
        assert!(
            state.host.is_none() && ended.stderr.contains("no host pane: the probe needs root"),
            "{}",
            ended.stderr
        );
        return;
    }
    let host = state.host.unwrap();
    for name in [proxy.as_str(), "embedded-kafka"] {
        // Other demos may run here: then it has a number behind its name.
        let named = |process: &&Process| process.name.starts_with(name) && process.up;
        let process = host.processes.iter().find(named).unwrap_or_else(|| panic!("no {name}: {host:?}"));
        assert!(process.cpu_percent.is_some_and(|share| share > 0.0), "{process:?}");
        assert!(process.memory_bytes.is_some_and(|bytes| bytes > 1e6), "{process:?}");
        assert!(process.open_files.is_some_and(|files| files > 3.0), "{process:?}");
    }
    assert!(host.memory_available_bytes.is_some_and(|bytes| bytes > 1e6), "{host:?}");
    assert!(host.pressure_percent.is_some(), "{host:?}");
}

#[test]
fn people_see_the_host_under_the_clients() {
    let demo = Demo::start(&["--seconds", "6"]);
    let proxy = demo.proxy_name();
    let ended = demo.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let (_, after) = ended.stdout.split_once("What the proxy saw:").unwrap();
    let (pane, _) = after.split_once("What the collector received:").unwrap();
    if geteuid().is_root() {
        assert!(pane.contains("kafkascope-probe") && pane.contains("memory available"), "{pane}");
        let line = pane.lines().find(|line| line.contains(&proxy)).unwrap();
        assert!(line.contains("up") && !line.contains("DOWN"), "{pane}");
    } else {
        assert!(pane.contains("no host pane: the probe needs root"), "{pane}");
        assert!(pane.contains("sudo"), "{pane}");
    }
}

#[test]
fn a_signal_ends_all_of_it() {
    for (signal, to_all) in [(Signal::INT, true), (Signal::TERM, false)] {
        let demo = Demo::start(&["--json"]);
        demo.wait_for_children();
        let group = demo.group();
        if to_all {
            // As a terminal does it.
            kill_process_group(group, signal).unwrap();
        } else {
            kill_process(group, signal).unwrap();
        }
        let ended = demo.end();
        assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    }
}

#[test]
fn a_child_that_crashes_is_named_and_ends_all_of_it() {
    let children = [(CLUSTER, "the embedded Kafka"), (PROXY, "kafkascope-proxy"), (PROBE, "kafkascope-probe")];
    let children = children.into_iter().filter(|(program, _)| *program != PROBE || geteuid().is_root());
    for (program, name) in children {
        let demo = Demo::start(&["--json"]);
        demo.wait_for_clients();
        let child = members(demo.group()).into_iter().find(|(_, command)| command.contains(program)).unwrap();
        kill_process(child.0, Signal::KILL).unwrap();
        let ended = demo.end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("error: {name} ended")), "{}", ended.stderr);
    }
}

/// What tells the children's command lines apart.
const CLUSTER: &str = "mock-cluster --brokers";
const PROXY: &str = "--otlp-endpoint";
const PROBE: &str = "--watch=embedded-kafka";

/// A running demo, in a process group of its own, by which its children are known.
struct Demo(Child);

struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafkascope-demo"));
        command.args(args).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Until the cluster and the proxy are there.
    fn wait_for_children(&self) {
        let children = |program| members(self.group()).iter().any(|(_, command)| command.contains(program));
        eventually("the demo's children", LIMIT, || Ok((children(CLUSTER) && children(PROXY)).then_some(()))).unwrap();
    }

    /// Until all is there: clients are last.
    fn wait_for_clients(&self) {
        let admin = self.flag_of_proxy("--admin").parse().unwrap();
        eventually("clients", LIMIT, || {
            let clients: serde_json::Value = serde_json::from_str(&http::get(admin, "/api/clients")?)?;
            Ok(clients.to_string().contains("orders-good").then_some(()))
        })
        .unwrap();
    }

    /// What the probe calls the proxy: by the port of its first route.
    fn proxy_name(&self) -> String {
        let route = self.flag_of_proxy("--route");
        format!("proxy-{}", route.split('=').next().unwrap().rsplit(':').next().unwrap())
    }

    /// What follows a flag on the proxy's command line.
    fn flag_of_proxy(&self, flag: &str) -> String {
        self.wait_for_children();
        let children = members(self.group());
        let (_, command) = children.iter().find(|(_, command)| command.contains(PROXY)).unwrap();
        command.split(' ').skip_while(|word| *word != flag).nth(1).unwrap().to_owned()
    }

    /// Waits for the end and for all children to be gone.
    fn end(mut self) -> Ended {
        let group = self.group();
        let (mut stdout, mut stderr) = (self.0.stdout.take().unwrap(), self.0.stderr.take().unwrap());
        // Little is printed: what a pipe holds is enough until the process has ended.
        let status = eventually("the demo to end", LIMIT, || Ok(self.0.try_wait()?)).unwrap();
        eventually("the demo's children to end", Duration::from_secs(5), || {
            Ok(members(group).is_empty().then_some(()))
        })
        .unwrap();
        let mut ended = Ended { status, stdout: String::new(), stderr: String::new() };
        stdout.read_to_string(&mut ended.stdout).unwrap();
        stderr.read_to_string(&mut ended.stderr).unwrap();
        ended
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            _ = kill_process_group(self.group(), Signal::KILL);
        }
    }
}

/// Processes of a group, with their command lines.
fn members(group: Pid) -> Vec<(Pid, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let member = |entry: fs::DirEntry| {
        let id = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // State, parent and group follow the name, which may hold spaces.
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        let [state, _parent, of, ..] = *fields.as_slice() else { return None };
        if state == "Z" || of.parse() != Ok(group.as_raw_nonzero().get()) {
            return None;
        }
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&command).replace('\0', " ")))
    };
    processes.filter_map(member).collect()
}
