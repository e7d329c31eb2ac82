//! Peers that misbehave: the proxy goes on, what they cost is bounded, and it says what they did.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::rig::DEADLINE;
use crate::serving::{assert_echoes, echo};

/// Most memory of a proxy that a peer fills as well as it can in some seconds, in bytes.
const MEMORY: u64 = 300 << 20;

/// Most of a processor that a peer may take which never stops telling.
const SHARE: f64 = 0.5;

/// Another proxy, played by the test: what it answers to each request, of which it is told the number and the cursor asked for.
struct Mock {
    url: String,
    asked: Arc<AtomicU32>,
}

impl Mock {
    fn start(serve: impl Fn(u32, u64, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, serve) = (Arc::new(AtomicU32::new(0)), Arc::new(serve));
        let count = Arc::clone(&asked);
        spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (count, serve) = (Arc::clone(&count), Arc::clone(&serve));
                spawn(move || {
                    let cursor = cursor_of(&stream);
                    // The proxy may hang up at any time.
                    _ = serve(count.fetch_add(1, Ordering::Relaxed), cursor, &mut stream);
                });
            }
        });
        Self { url, asked }
    }

    /// Always the same.
    fn saying(answer: Vec<u8>) -> Self {
        Self::start(move |_, _, stream| stream.write_all(&answer))
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Reads a request, and what cursor it asks for.
fn cursor_of(stream: &TcpStream) -> u64 {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let since = head.first().and_then(|line| line.split("since=").nth(1));
    since.and_then(|since| since.split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn page(instance: &str, cursor: u64, more: bool, facts: &str) -> Vec<u8> {
    http("200 OK", &format!(r#"{{"instance":"{instance}","cursor":{cursor},"more":{more},"facts":[{facts}]}}"#))
}

/// The end of a partition of `topic`.
fn end(topic: &str, partition: &str, high: &str) -> String {
    let of = format!(r#"{{"cluster":"","topic":"{topic}","partition":{partition}}}"#);
    format!(r#"{{"kind":"end","of":{of},"high":{high},"stable":-1,"start":-1,"before":[-1,0],"plain":false,"at":1}}"#)
}

/// A proxy with these peers before an upstream that sends everything back.
fn beside(peers: &[&Mock]) -> Process {
    let flags: Vec<&str> = peers.iter().flat_map(|peer| ["--peer", &peer.url]).collect();
    Process::start(&[&echo("127.0.0.1:0")], &flags)
}

/// The proxy serves clients and operators.
fn assert_works(process: &Process) {
    assert_echoes(&mut process.connect());
    assert_eq!(process.get("/healthz").0, 200);
    assert_eq!(process.get("/metrics").0, 200);
}

fn fails(process: &Process, reason: &str) {
    process.metric_becomes(&format!("kafkascope_self_peer_failures_total{{reason=\"{reason}\"}}"), "");
}

/// What `peer` costs a proxy that it tells as much as it can: share of a processor and bytes of memory, over some seconds
/// and several answers.
fn cost(peer: &Mock, reason: Option<&str>) -> (f64, u64) {
    let process = beside(&[peer]);
    let (began, before) = (Instant::now(), process.processor_time());
    while began.elapsed() < Duration::from_secs(3) || peer.asked() < 3 {
        assert!(began.elapsed() < DEADLINE, "asked only {} times", peer.asked());
        assert_works(&process);
        sleep(Duration::from_millis(200));
    }
    let share = (process.processor_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    if let Some(reason) = reason {
        fails(&process, reason);
    }
    (share, process.peak_memory())
}

#[test]
fn what_is_no_answer_is_counted_by_its_reason_and_logged() {
    let of_ours = r#"{"instance":"a","cursor":1,"more":false,"facts":"#;
    let cases: [(&str, Vec<u8>); 14] = [
        ("http", b"\0\xff\xfe garbage\r\n\r\n".to_vec()),
        ("http", Vec::new()),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("body", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"instance\"".to_vec()),
        ("status", http("500 Internal Server Error", "no")),
        ("status", b"HTTP/1.1 302 Found\r\nlocation: /api/facts\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("malformed", http("200 OK", "")),
        ("malformed", http("200 OK", &"[".repeat(100_000))),
        ("malformed", http("200 OK", &format!("{of_ours}{{}}}}"))),
        ("malformed", http("200 OK", &format!("{of_ours}[{{\"kind\":\"end\"}}]}}"))),
        ("malformed", page("a", 1, false, &end("t", "1e30", "1"))),
        ("malformed", page("a", 1, false, &end("t", "0", "\"1\""))),
        ("malformed", page("a/../b?c=\\r\\n", 1, false, "")),
        ("malformed", page(&"a".repeat(1_000_000), 1, false, "")),
    ];
    let running = cases.map(|(reason, answer)| (reason, beside(&[&Mock::saying(answer)])));
    for (reason, mut process) in running {
        process.logged("peer does not answer");
        fails(&process, reason);
        assert_works(&process);
    }
}

#[test]
fn a_peer_that_is_not_there_is_counted() {
    let peer = Mock { url: "http://127.0.0.1:1".to_owned(), asked: Arc::default() };
    let process = beside(&[&peer]);
    fails(&process, "connect");
    assert_works(&process);
}

#[test]
fn a_peer_that_never_answers_or_byte_by_byte_is_given_up() {
    let silent = Mock::start(|_, _, stream| stream.read(&mut [0]).map(drop));
    let slow = Mock::start(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
        loop {
            stream.write_all(b" ")?;
            sleep(Duration::from_millis(5));
        }
    });
    let mut process = beside(&[&silent, &slow]);
    for _ in 0..2 {
        assert_works(&process);
        process.logged("no answer in 3s");
    }
    process.metric_becomes("kafkascope_self_peer_failures_total{reason=\"timeout\"}", " 2");
    assert_works(&process);
}

#[test]
fn a_body_without_end_is_cut() {
    let peer = Mock::start(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"facts\":[")?;
        loop {
            stream.write_all(&[b' '; 65536])?;
        }
    });
    let (share, memory) = cost(&peer, Some("body"));
    assert!(share < SHARE && memory < MEMORY, "{share} of a processor, {memory} bytes");
}

#[test]
fn pages_without_end_cost_little() {
    let peer = Mock::start(|number, cursor, stream| {
        let facts: Vec<String> = (0..5_000).map(|fact| end("t", &(fact + 5_000 * number).to_string(), "1")).collect();
        stream.write_all(&page("a", cursor + 1, true, &facts.join(",")))
    });
    let (share, memory) = cost(&peer, None);
    assert!(share < SHARE && memory < MEMORY, "{share} of a processor, {memory} bytes");
}

#[test]
fn long_names_cost_little() {
    let peer = Mock::start(|number, cursor, stream| {
        let name = |fact| format!("{number}-{fact}{}", "x".repeat(490));
        let facts: Vec<String> = (0..5_000).map(|fact| end(&name(fact), "1", "1")).collect();
        stream.write_all(&page("a", cursor + 1, true, &facts.join(",")))
    });
    let (share, memory) = cost(&peer, None);
    assert!(share < SHARE && memory < MEMORY, "{share} of a processor, {memory} bytes");
}

#[test]
fn names_and_numbers_that_cannot_be_are_counted_as_lost() {
    let facts = [
        end(&"x".repeat(1 << 20), "0", "1"),
        end("t", "-1", "1"),
        end("t", "0", "-9223372036854775808"),
        end("t", "2147483647", "9223372036854775807"),
    ];
    // Told once: what is lost stays as it is.
    let peer = Mock::start(move |_, cursor, stream| {
        let facts = if cursor == 0 { facts.join(",") } else { String::new() };
        stream.write_all(&page("a", u64::MAX, false, &facts))
    });
    let process = beside(&[&peer]);
    process.metric_becomes("kafkascope_self_facts_lost_total", " 3");
    process.metric_becomes("kafkascope_self_facts ", " 1");
    assert_works(&process);
}

#[test]
fn a_cursor_that_stays_or_goes_back_is_asked_for_once_a_second() {
    let stays = Mock::saying(page("a", 7, true, ""));
    let back = Mock::start(|number, _, stream| stream.write_all(&page("a", u64::from(1_000 - number), true, "")));
    let process = beside(&[&stays, &back]);
    fails(&process, "cursor");
    sleep(Duration::from_secs(2));
    assert!(stays.asked() < 10 && back.asked() < 10, "{} and {} times", stays.asked(), back.asked());
    assert_works(&process);
}

#[test]
fn a_peer_that_is_another_each_time_is_asked_once_a_second_and_believed_once() {
    let peer = Mock::start(|number, _, stream| {
        stream.write_all(&page(&format!("a{number}"), number.into(), true, &end("t", &number.to_string(), "1")))
    });
    let mut process = beside(&[&peer]);
    fails(&process, "begun_anew");
    process.logged("peer answers");
    process.metric_becomes("kafkascope_self_facts ", " 1");
    sleep(Duration::from_secs(2));
    assert!(peer.asked() < 10, "{} times", peer.asked());
    assert!(!process.has_logged("peer answers"), "one line in ten seconds is enough");
    assert_works(&process);
}

#[test]
fn a_peer_that_calls_itself_by_our_name_tells_nothing() {
    let ours = Arc::new(std::sync::OnceLock::<String>::new());
    let name = Arc::clone(&ours);
    let peer = Mock::start(move |_, _, stream| match name.get() {
        Some(name) => stream.write_all(&page(name, 1, false, &end("t", "0", "1"))),
        None => stream.write_all(&http("500 Internal Server Error", "")),
    });
    let mut process = beside(&[&peer]);
    let (_, facts) = process.get("/api/facts");
    let name = facts.split("\"instance\":\"").nth(1).unwrap().split('"').next().unwrap();
    ours.set(name.to_owned()).unwrap();
    let before = peer.asked();
    let began = Instant::now();
    while peer.asked() < before + 3 {
        assert!(began.elapsed() < DEADLINE, "it is asked on");
        sleep(Duration::from_millis(50));
    }
    let (_, metrics) = process.get("/metrics");
    assert!(
        !metrics.lines().any(|line| line.starts_with("kafkascope_self_facts ") && !line.ends_with(" 0")),
        "{metrics}"
    );
    process.logged("peer does not answer");
}
