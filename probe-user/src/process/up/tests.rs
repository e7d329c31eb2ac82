//! Deaths, restarts and ports, of made-up processes and of a real one.

use std::process::Command;

use super::*;
use crate::discovery::Cgroup;

const FORGET: Duration = Duration::from_secs(60);

fn process(name: &str, pid: u32, started: u64, ports: &[u16]) -> Arc<Process> {
    Arc::new(Process {
        pid: Pid(pid),
        namespaced_pid: pid,
        started: StartTime(started),
        uid: 0,
        role: Role::Broker,
        name: name.to_owned(),
        node: None,
        cluster: Some("c".to_owned()),
        log_dirs: Vec::new(),
        listeners: ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect(),
        network_namespace: None,
        cgroup: Cgroup::default(),
        pod_name: None,
        jvm: true,
        perf_data_off: None,
    })
}

fn up(expected: Vec<Expected>) -> Up {
    // Made-up process ids mean nothing to the kernel.
    Up { own: false, ..Up::new(Roots::default(), expected, FORGET) }
}

fn state(up: &Up, name: &str) -> State {
    up.states().find(|state| state.name == name).unwrap()
}

#[test]
fn what_is_expected_is_down_until_it_is_seen_and_never_forgotten() {
    let mut up = up(vec![Expected { name: "broker-1".to_owned(), ports: vec![9092, 9093] }]);
    let start = Instant::now();
    up.observe([], start);
    assert!(!state(&up, "broker-1").up);
    up.observe([&process("broker-1", 7, 1, &[9092, 40_000])], start);
    let now = state(&up, "broker-1");
    assert_eq!((now.up, now.cluster.as_deref(), now.restarts), (true, Some("c"), 0));
    assert_eq!(now.listening, [(9092, true), (9093, false)]);
    up.observe([], start + FORGET * 10);
    let now = state(&up, "broker-1");
    assert_eq!((now.up, up.states().count()), (false, 1));
    assert_eq!(now.listening, [(9092, false), (9093, false)]);
}

#[test]
fn what_was_only_seen_is_down_for_a_while_and_then_forgotten() {
    let mut up = up(Vec::new());
    let start = Instant::now();
    up.observe([&process("broker-1", 7, 1, &[9092])], start);
    up.observe([], start + FORGET / 2);
    let now = state(&up, "broker-1");
    assert_eq!((now.up, now.listening), (false, vec![(9092, false)]));
    up.observe([], start + FORGET * 2);
    assert_eq!(up.states().count(), 0);
}

#[test]
fn another_process_of_the_name_is_a_restart_and_ports_of_the_old_one_are_given_up() {
    let mut up = up(Vec::new());
    let start = Instant::now();
    up.observe([&process("broker-1", 7, 1, &[9092, 40_000])], start);
    // Without a moment in between, and by the same id.
    let new = process("broker-1", 7, 2, &[9092, 40_001]);
    up.observe([&new], start + Duration::from_secs(1));
    let now = state(&up, "broker-1");
    assert_eq!((now.up, now.restarts), (true, 1));
    assert_eq!(now.listening, [(9092, true), (40_000, false), (40_001, true)]);
    up.observe([&new], start + FORGET + Duration::from_secs(1));
    assert_eq!(state(&up, "broker-1").listening, [(9092, true), (40_001, true)]);
}

#[test]
fn a_name_that_is_known_late_is_no_restart() {
    let mut up = up(vec![Expected { name: "broker-1".to_owned(), ports: Vec::new() }]);
    let start = Instant::now();
    up.observe([&process("broker", 7, 1, &[])], start);
    up.observe([&process("broker-2", 7, 1, &[])], start);
    up.observe([&process("broker-2", 7, 1, &[]), &process("broker-1", 8, 1, &[])], start);
    let states: Vec<_> = up.states().map(|state| (state.name, state.up, state.restarts)).collect();
    assert_eq!(states, [("broker-1".to_owned(), true, 0), ("broker-2".to_owned(), true, 0)]);
}

#[test]
fn a_kill_is_seen_at_once() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let roots = Roots::default();
    let started = crate::discovery::start_time(&roots, Pid(child.id())).unwrap();
    let process = process("x", child.id(), started.0, &[]);
    let mut up = Up::new(roots, Vec::new(), FORGET);
    up.observe([&process], Instant::now());
    assert!(!up.wait(Duration::ZERO).unwrap());
    let killed = Instant::now();
    // Not waited for: a zombie is down too.
    child.kill().unwrap();
    assert!(up.wait(Duration::from_secs(10)).unwrap());
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    assert!(!state(&up, "x").up);
    // A scan that was begun before does not bring it back.
    up.observe([&process], Instant::now());
    assert!(!state(&up, "x").up);
    child.wait().unwrap();
}
