//! The process and its connections: limits, failures, signals, the admin server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::frames::{message, read};
use crate::process::{Process, clean};
use crate::rig::DEADLINE;

/// An upstream that sends everything back.
pub(crate) fn echo(address: &str) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    upstream
}

/// A minimal broker: answers each ApiVersions request (v0) with an empty list.
fn broker() -> String {
    counting_broker().0
}

/// A minimal broker and the number of requests that reached it.
fn counting_broker() -> (String, Arc<AtomicU32>) {
    let reached = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&reached);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let count = Arc::clone(&count);
            spawn(move || {
                while let Some(request) = read(&mut stream) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = [&request[4..8], &[0, 0, 0, 0, 0, 0]].concat();
                    if stream.write_all(&message(&answer)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (upstream, reached)
}

/// An ApiVersions request (v0) of client `test`.
fn api_versions(correlation: u32) -> Vec<u8> {
    message(&[&[0, 18, 0, 0], &correlation.to_be_bytes()[..], &[0, 4], b"test"].concat())
}

pub(crate) fn assert_echoes(stream: &mut TcpStream) {
    assert!(echoes(stream));
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 14];
    stream.write_all(b"are you there?").and_then(|()| stream.read_exact(&mut answer)).is_ok()
        && &answer == b"are you there?"
}

fn assert_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed: {other:?}"),
    }
}

#[test]
fn upstreams_may_be_names_and_ipv6_addresses() {
    let port = echo("127.0.0.1:0").rsplit(':').next().unwrap().to_owned();
    for upstream in [format!("localhost:{port}"), echo("[::1]:0")] {
        let process = Process::start(&[&upstream], &[]);
        assert_eq!(process.listen[0].is_ipv6(), upstream.starts_with('['));
        assert_echoes(&mut process.connect());
    }
}

#[test]
fn over_the_limit_the_new_connection_is_closed_and_the_old_ones_live() {
    let process = Process::start(&[&echo("127.0.0.1:0")], &["--max-connections", "2"]);
    let (mut one, mut two) = (process.connect(), process.connect());
    assert_echoes(&mut one);
    assert_echoes(&mut two);
    assert_closed(&mut process.connect());
    assert_echoes(&mut one);
    process.metric_becomes("kafkascope_connections_refused_total", "reason=\"max_connections\"} 1");
    drop(two);
    process.metric_becomes("kafkascope_connections{", " 1");
    assert_echoes(&mut process.connect());
}

#[test]
fn a_refused_upstream_closes_the_client_at_once() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let process = Process::start(&[&refused], &[]);
    assert_closed(&mut process.connect());
    process.metric_becomes("kafkascope_connections_closed_total", "reason=\"connect\"} 1");
}

#[test]
fn an_upstream_that_does_not_answer_closes_the_client_in_time() {
    // A listener whose queue is full drops what comes.
    let listener =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
    }
    let process = Process::start(&[&address.to_string()], &["--connect-timeout", "400ms"]);
    let begun = Instant::now();
    assert_closed(&mut process.connect());
    assert!(begun.elapsed() > Duration::from_millis(350));
    process.metric_becomes("kafkascope_connections_closed_total", "reason=\"connect_timeout\"} 1");
}

#[test]
fn one_reader_that_stalls_does_not_stop_the_others() {
    let process = Process::start(&[&echo("127.0.0.1:0")], &[]);
    let stalled = process.connect();
    stalled.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let mut full_since = None::<Instant>;
    while full_since.is_none_or(|since| since.elapsed() < Duration::from_millis(300)) {
        assert!(begun.elapsed() < DEADLINE, "backpressure comes");
        let taken = (&stalled).write(&[1; 65536]);
        match taken {
            Ok(_some) => full_since = None,
            Err(_) => _ = full_since.get_or_insert_with(Instant::now),
        }
    }
    let mut other = process.connect();
    for _ in 0..100 {
        assert_echoes(&mut other);
    }
}

#[test]
fn without_descriptors_it_waits_and_lives_on() {
    let mut limited = clean(Command::new("sh"));
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kafkascope-proxy")]);
    limited.args(["--max-connections", "1000"]);
    let mut process = Process::run(limited, &[&echo("127.0.0.1:0")]);
    let clients: Vec<_> = (0..60).map(|_| process.connect()).collect();
    process.logged("cannot accept connections now");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    drop(clients);
    // Connections that vanish give their descriptors back one by one.
    while !echoes(&mut process.connect()) {
        assert!(begun.elapsed() < DEADLINE, "it serves again");
    }
    let failures = process.metric("kafkascope_connections_refused_total", "out_of_descriptors");
    let failures: u64 = failures.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(u128::from(failures) <= begun.elapsed().as_millis() / 100 + 1, "{failures} attempts: it does not spin");
    assert!(process.is_running());
}

#[test]
fn bytes_that_are_not_kafkas_pass_and_are_named_in_the_log() {
    for (bytes, what) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "client speaks HTTP"),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], "client speaks TLS"),
        (&[0xFF; 32], "not Kafka's"),
    ] {
        let mut process = Process::start(&[&echo("127.0.0.1:0")], &[]);
        let mut client = process.connect();
        client.write_all(bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, bytes);
        process.logged(what);
        assert_echoes(&mut client);
    }
}

#[test]
fn the_admin_server_tells_health_metrics_and_clients() {
    let process = Process::start(&[&broker()], &[]);
    assert_eq!(process.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(process.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(process.get("/nothing").0, 404);
    let mut client = process.connect();
    client.write_all(&api_versions(1)).unwrap();
    read(&mut client).unwrap();
    let request = process.metric("kafkascope_requests_total{", "");
    assert!(request.contains("ApiVersions") && request.contains("\"test\"") && request.ends_with(" 1"), "{request}");
    let (status, clients) = process.get("/api/clients");
    assert_eq!(status, 200);
    assert!(clients.contains("\"client_id\":\"test\"") && clients.contains("\"address\":\"127.0.0.1\""), "{clients}");
}

#[test]
fn a_route_that_observes_nothing_still_counts_connections_and_bytes() {
    let process = Process::start(&[&format!("{},observe=none", broker())], &[]);
    let mut client = process.connect();
    client.write_all(&api_versions(1)).unwrap();
    read(&mut client).unwrap();
    process.metric_becomes("kafkascope_connections{", " 1");
    let (_, metrics) = process.get("/metrics");
    assert!(!metrics.contains("kafkascope_requests_total{"), "{metrics}");
    let bytes = metrics.lines().filter(|line| line.starts_with("kafkascope_connection_io_bytes_total{"));
    assert_eq!(bytes.count(), 2, "{metrics}");
}

#[test]
fn a_drain_under_load_loses_no_answer() {
    let (upstream, reached) = counting_broker();
    let mut process = Process::start(&[&upstream], &[]);
    let under_load = Barrier::new(9);
    let answered = scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let client = process.connect();
                let under_load = &under_load;
                scope.spawn(move || ask_until_told(&client, under_load))
            })
            .collect();
        under_load.wait();
        process.signal(Signal::TERM);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answered.iter().sum::<u32>(), reached.load(Ordering::Relaxed), "{answered:?}");
    process.logged("drained");
    assert_eq!(process.wait().code(), Some(0));
}

/// Asks with up to a hundred requests in flight until the connection ends; waits for the others after the first answer.
/// Returns the number of answers, which have to be whole and in order.
fn ask_until_told(client: &TcpStream, under_load: &Barrier) -> u32 {
    let answered = AtomicU32::new(0);
    scope(|scope| {
        scope.spawn(|| {
            let mut asked = 0_u32;
            loop {
                if asked.saturating_sub(answered.load(Ordering::Relaxed)) >= 100 {
                    std::thread::yield_now();
                } else if { client }.write_all(&api_versions(asked)).is_ok() {
                    asked += 1;
                } else {
                    break;
                }
            }
        });
        while let Some(answer) = read(&mut { client }) {
            let before = answered.fetch_add(1, Ordering::Relaxed);
            assert_eq!(answer[..4], before.to_be_bytes());
            if before == 0 {
                under_load.wait();
            }
        }
        // Now it may be written to no more.
        client.shutdown(Shutdown::Write).unwrap_or_default();
        answered.fetch_add(1_000_000, Ordering::Relaxed);
    });
    answered.into_inner() - 1_000_000
}

#[test]
fn while_it_drains_it_is_not_ready_and_accepts_nothing() {
    let mut process = Process::start(&[&broker()], &["--drain-timeout", "20s"]);
    let mut held = process.connect();
    // Half a request: there is no place to end at.
    held.write_all(&api_versions(1)[..7]).unwrap();
    let mut last = process.connect();
    last.write_all(&api_versions(1)[..7]).unwrap();
    process.metric_becomes("kafkascope_connections{", " 2");
    process.signal(Signal::TERM);
    process.logged("draining");
    assert_eq!(process.get("/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(process.get("/healthz").0, 200);
    assert!(TcpStream::connect(process.listen[0]).is_err());
    held.write_all(&api_versions(1)[7..]).unwrap();
    assert!(read(&mut held).is_some(), "the answer still comes");
    assert_eq!(read(&mut held), None);
    held.write_all(b"too late").unwrap();
    drop(held);
    process.metric_becomes("kafkascope_drain_discarded_bytes_total{", " 8");
    drop(last);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_drain_ends_in_its_time() {
    let mut process = Process::start(&[&broker()], &["--drain-timeout", "1s"]);
    let mut held = process.connect();
    held.write_all(&api_versions(1)[..7]).unwrap();
    process.metric_becomes("kafkascope_connections{", " 1");
    let begun = Instant::now();
    process.signal(Signal::TERM);
    process.logged("drain timed out");
    assert_eq!(process.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_closed(&mut held);
}

#[test]
fn a_second_signal_ends_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(&[&broker()], &["--drain-timeout", "10m"]);
        let mut held = process.connect();
        held.write_all(&api_versions(1)[..7]).unwrap();
        process.metric_becomes("kafkascope_connections{", " 1");
        process.signal(Signal::TERM);
        process.logged("draining");
        process.signal(second);
        assert_eq!(process.wait().code(), Some(143));
    }
}
