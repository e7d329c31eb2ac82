//! The search in a /proc of our own, and in the real one while processes come and go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};

use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_secs(1);

/// A /proc made of files.
struct Fake {
    folder: tempfile::TempDir,
    now: Instant,
}

impl Fake {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now: Instant::now() }
    }

    fn roots(&self) -> Roots {
        Roots { proc: self.folder.path().to_owned(), sys: self.folder.path().join("sys") }
    }

    fn discovery(&self, rules: Vec<Rule>) -> Discovery {
        Discovery::new(self.roots(), rules).unwrap()
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.folder.path().join(pid.to_string()).join(name)
    }

    fn write(&self, pid: u32, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(pid, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn start(&self, pid: u32, ticks: u64, command_line: &str) {
        self.write(pid, "stat", format!("{pid} (x) S 1 1 1 0 -1 4194560 0 0 0 0 1 1 0 0 20 0 1 0 {ticks} 0 0"));
        self.write(pid, "cmdline", command_line.replace(' ', "\0") + "\0");
    }

    fn broker(&self, pid: u32, ticks: u64, node: u32) {
        self.start(pid, ticks, "java -cp x kafka.Kafka /server.properties");
        self.write(pid, "root/server.properties", format!("process.roles=broker\nnode.id={node}\nlog.dirs=/data\n"));
        self.write(pid, "root/data/meta.properties", format!("cluster.id=abc\nnode.id={node}\n"));
        self.write(pid, "status", format!("Name:\tjava\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t{pid}\t1\n"));
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.folder.path().join(pid.to_string())).unwrap();
    }

    fn scan(&mut self, discovery: &mut Discovery) -> Changes {
        self.now += STEP;
        discovery.scan(self.now).unwrap()
    }
}

fn names(processes: &[Arc<Process>]) -> Vec<&str> {
    processes.iter().map(|process| process.name.as_str()).collect()
}

#[test]
fn servers_are_found_with_all_that_their_files_tell() {
    let mut fake = Fake::new();
    let id = "0123456789abcdef".repeat(4);
    fake.broker(40, 100, 1);
    fake.write(40, "cgroup", format!("0::/kubepods/pod2ae7dd2e-7d1c-4c3c-9f4b-3a5a5a5d3c10/{id}\n"));
    fake.write(40, "environ", "A=b\0HOSTNAME=kafka-0\0");
    fake.start(41, 100, "java -cp x org.apache.zookeeper.server.quorum.QuorumPeerMain /zoo.cfg");
    fake.write(41, "root/zoo.cfg", "dataDir=/zk\n");
    fake.write(41, "root/zk/myid", "3\n");
    fake.start(42, 100, "/usr/bin/kafkascope-proxy --route 127.0.0.1:19092=kafka:9092");
    fake.start(43, 100, "sleep 1000");
    let mut discovery = fake.discovery(Vec::new());
    let mut changes = fake.scan(&mut discovery);
    changes.appeared.sort_by_key(|process| process.pid);
    assert_eq!(names(&changes.appeared), ["broker-1", "zookeeper-3", "proxy-19092"]);
    let broker = &changes.appeared[0];
    assert_eq!((broker.node, broker.cluster.as_deref()), (Some(NodeId(1)), Some("abc")));
    assert_eq!((broker.namespaced_pid, broker.uid, broker.jvm), (1, 1000, true));
    assert_eq!(broker.log_dirs[0].inside, Path::new("/data"));
    assert_eq!(broker.log_dirs[0].reachable, fake.path(40, "root/data"));
    assert_eq!(broker.cgroup.container.as_deref(), Some(id.as_str()));
    assert_eq!(broker.pod_name.as_deref(), Some("kafka-0"));
    assert!(fake.scan(&mut discovery).is_empty());
    fake.end(40);
    let changes = fake.scan(&mut discovery);
    assert_eq!(names(&changes.gone), ["broker-1"]);
}

#[test]
fn a_script_that_becomes_a_broker_is_found() {
    let mut fake = Fake::new();
    fake.start(40, 100, "bash kafka-server-start.sh /server.properties");
    let mut discovery = fake.discovery(Vec::new());
    assert!(fake.scan(&mut discovery).is_empty());
    fake.broker(40, 100, 7);
    assert_eq!(names(&fake.scan(&mut discovery).appeared), ["broker-7"]);
}

#[test]
fn a_process_id_used_again_is_another_process() {
    let mut fake = Fake::new();
    fake.broker(40, 100, 1);
    let mut discovery = fake.discovery(Vec::new());
    fake.scan(&mut discovery);
    fake.broker(40, 200, 1);
    let (mut appeared, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let changes = fake.scan(&mut discovery);
        appeared.extend(changes.appeared);
        gone.extend(changes.gone);
    }
    assert_eq!((names(&appeared), names(&gone)), (vec!["broker-1"], vec!["broker-1"]));
    assert!(appeared[0].started > gone[0].started);
    // And by a process that is none to watch.
    fake.end(40);
    fake.start(40, 300, "sleep 1");
    assert_eq!(names(&fake.scan(&mut discovery).gone), ["broker-1"]);
    assert!(fake.scan(&mut discovery).is_empty());
}

#[test]
fn a_zombie_is_gone() {
    let mut fake = Fake::new();
    fake.broker(40, 100, 1);
    let mut discovery = fake.discovery(Vec::new());
    fake.scan(&mut discovery);
    let stat = fs::read_to_string(fake.path(40, "stat")).unwrap();
    fake.write(40, "stat", stat.replace(" S ", " Z "));
    fake.write(40, "cmdline", "");
    assert_eq!(names(&fake.scan(&mut discovery).gone), ["broker-1"]);
    assert!(fake.scan(&mut discovery).is_empty());
}

#[test]
fn names_are_unique_in_a_cluster_and_a_restarted_server_gets_its_own_back() {
    let mut fake = Fake::new();
    fake.broker(40, 100, 1);
    let mut discovery = fake.discovery(Vec::new());
    fake.scan(&mut discovery);
    fake.broker(41, 200, 1);
    fake.broker(42, 200, 1);
    fake.write(42, "root/data/meta.properties", "cluster.id=other\nnode.id=1\n");
    let mut appeared = fake.scan(&mut discovery).appeared;
    appeared.sort_by_key(|process| process.pid);
    assert_eq!(names(&appeared), ["broker-1.2", "broker-1"]);
    fake.end(40);
    let changes = fake.scan(&mut discovery);
    assert_eq!((names(&changes.gone), names(&changes.changed)), (vec!["broker-1"], vec!["broker-1"]));
}

#[test]
fn rules_find_by_command_line_control_group_and_port_together() {
    let mut fake = Fake::new();
    let rule = |name: &str, command_line: Option<&str>, cgroup: Option<&str>, port| Rule {
        name: name.to_owned(),
        command_line: command_line.map(|pattern| regex::bytes::Regex::new(pattern).unwrap()),
        cgroup: cgroup.map(|pattern| regex::Regex::new(pattern).unwrap()),
        port,
    };
    let rules = vec![
        rule("nothing", None, None, None),
        rule("mirror", Some(r"mirror\.properties$"), None, None),
        rule("unit", None, Some("^/system.slice/x.service$"), None),
        rule("port", None, None, Some(9092)),
    ];
    fake.start(40, 1, "java -cp x org.apache.kafka.connect.mirror.MirrorMaker mirror.properties");
    fake.start(41, 1, "mirror x");
    fake.start(42, 1, "x");
    fake.write(42, "cgroup", "0::/system.slice/x.service\n");
    fake.start(43, 1, "y");
    fake.write(43, "net/tcp", "0: 0100007F:2384 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n");
    fs::create_dir_all(fake.path(43, "fd")).unwrap();
    symlink("socket:[77]", fake.path(43, "fd/5")).unwrap();
    fake.start(44, 1, "java -cp x org.apache.kafka.connect.mirror.MirrorMaker mirror.properties");
    let mut discovery = fake.discovery(rules);
    let mut changes = fake.scan(&mut discovery);
    changes.appeared.sort_by_key(|process| process.name.clone());
    assert_eq!(names(&changes.appeared), ["mirror", "mirror.2", "port", "unit"]);
    assert!(changes.appeared.iter().all(|process| process.pid != Pid(41)));
}

#[test]
fn ten_thousand_processes_cost_little_when_nothing_has_changed() {
    let mut fake = Fake::new();
    for pid in 1..=10_000 {
        fake.start(pid, u64::from(pid), "some-daemon --flag value");
    }
    fake.broker(10_001, 5, 1);
    let mut discovery = fake.discovery(Vec::new());
    let clock = Instant::now();
    let changes = fake.scan(&mut discovery);
    let first = clock.elapsed();
    assert_eq!(names(&changes.appeared), ["broker-1"]);
    let clock = Instant::now();
    for _ in 0..10 {
        assert!(fake.scan(&mut discovery).is_empty());
    }
    let again = clock.elapsed() / 10;
    println!("first scan {first:?}, again {again:?}");
    assert!(first < Duration::from_secs(10), "{first:?}");
    assert!(again < Duration::from_millis(200), "{again:?}");
}

/// Ends a child when the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn processes_that_vanish_during_a_scan_are_no_error() {
    let mut discovery = Discovery::new(Roots::default(), Vec::new()).unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    let churn = std::thread::spawn(move || {
        while Instant::now() < until {
            let children: Vec<_> = (0..8).filter_map(|_| Command::new("true").spawn().ok()).collect();
            for mut child in children {
                child.wait().unwrap();
            }
        }
    });
    let mut scans = 0;
    while !churn.is_finished() {
        discovery.scan(Instant::now()).unwrap();
        scans += 1;
    }
    churn.join().unwrap();
    assert!(scans > 10, "{scans}");
}

#[test]
fn a_real_process_is_found_by_a_rule_and_gone_when_killed() {
    // Of this run alone: the tests of another may run on this host at the same time.
    let seconds = (1_000_000 + std::process::id()).to_string();
    let pattern = regex::bytes::Regex::new(&format!("^sleep {seconds}$")).unwrap();
    let rule = Rule { name: "sleeper".to_owned(), command_line: Some(pattern), cgroup: None, port: None };
    let mut discovery = Discovery::new(Roots::default(), vec![rule]).unwrap();
    discovery.scan(Instant::now()).unwrap();
    let child = Ended(Command::new("sleep").arg(&seconds).spawn().unwrap());
    let changes = discovery.scan(Instant::now()).unwrap();
    let found = changes.appeared.iter().find(|process| process.pid == Pid(child.0.id())).unwrap();
    assert_eq!((found.name.as_str(), found.namespaced_pid), ("sleeper", child.0.id()));
    assert_eq!(found.uid, rustix::process::getuid().as_raw());
    drop(child);
    assert_eq!(names(&discovery.scan(Instant::now()).unwrap().gone), ["sleeper"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn garbage_in_every_file_is_no_panic(
        files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 9),
        real_main: bool,
    ) {
        let mut fake = Fake::new();
        fake.start(7, 1, "java kafka.Kafka /server.properties");
        let names = [
            "status", "cgroup", "environ", "net/tcp", "net/tcp6", "root/server.properties",
            "root/tmp/kafka-logs/meta.properties", "stat", "cmdline",
        ];
        // With a command line that is no garbage the rest of the files matters.
        let count = if real_main { 7 } else { 9 };
        for (name, content) in names.iter().zip(&files).take(count) {
            fake.write(7, name, content);
        }
        let mut discovery = fake.discovery(Vec::new());
        for _ in 0..2 {
            fake.scan(&mut discovery);
        }
    }
}
