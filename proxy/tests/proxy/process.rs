//! The real binary as a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::DEADLINE;

/// A proxy that runs, and is killed with the test.
pub(crate) struct Process {
    child: Child,
    log: Receiver<String>,
    /// All lines so far, and whether somebody has waited for each.
    seen: Vec<(String, bool)>,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

/// The binary, without what the test's own environment would tell it.
pub(crate) fn command() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_kafkascope-proxy")))
}

/// `command` without the variables that the proxy reads.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KAFKASCOPE_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command
}

impl Process {
    /// Starts a proxy with an admin server, a worker, and a route from a free port to each upstream (with its options),
    /// and waits until it is open.
    pub(crate) fn start(upstreams: &[&str], arguments: &[&str]) -> Self {
        let mut command = command();
        command.args(arguments);
        Self::run(command, upstreams)
    }

    pub(crate) fn run(mut command: Command, upstreams: &[&str]) -> Self {
        command.args(["--admin", "127.0.0.1:0", "--workers", "1"]);
        for upstream in upstreams {
            let listen = if upstream.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
            command.arg("--route").arg(format!("{listen}={upstream}"));
        }
        Self::open(command, upstreams.len())
    }

    /// Starts `command`, which has an admin server and so many routes, and waits until they are open.
    pub(crate) fn open(mut command: Command, routes: usize) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let mut process =
            Self { child, log, seen: Vec::new(), listen: Vec::new(), admin: SocketAddr::from(([127, 0, 0, 1], 0)) };
        process.admin = process.address("admin server open");
        process.listen = (0..routes).map(|_| process.address("route open")).collect();
        process
    }

    fn address(&mut self, event: &str) -> SocketAddr {
        let line = self.logged(event);
        let listen = line.split("listen=").nth(1).unwrap();
        listen.split(' ').next().unwrap().parse().unwrap()
    }

    /// Waits for a line of the log with this text, that no one has waited for.
    pub(crate) fn logged(&mut self, text: &str) -> String {
        let begun = Instant::now();
        let mut at = 0;
        loop {
            for (line, is_taken) in self.seen.iter_mut().skip(at) {
                if !*is_taken && line.contains(text) {
                    *is_taken = true;
                    return line.clone();
                }
            }
            at = self.seen.len();
            match self.log.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
                Ok(line) => self.seen.push((line, false)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} in the log: {:#?}", self.seen)
                }
            }
        }
    }

    /// Whether there is a line with this text that no one has waited for.
    pub(crate) fn has_logged(&mut self, text: &str) -> bool {
        self.seen.extend(self.log.try_iter().map(|line| (line, false)));
        self.seen.iter().any(|(line, is_taken)| !is_taken && line.contains(text))
    }

    /// Most memory that it had at once, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Processor time of all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let behind_name = stat.rsplit(')').next().unwrap();
        let ticks: u64 =
            behind_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        // USER_HZ is 100 on all that Linux runs on.
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listen[0]).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "the process ends; its log: {:#?}", self.seen);
            std::thread::yield_now();
        }
    }

    /// Status and body of an answer of the admin server.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // HTTP/1.0: the body ends with the connection and is never chunked.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: proxy\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until a line of /metrics begins with `name` and ends with `end`, its last labels and value.
    pub(crate) fn metric_becomes(&self, name: &str, end: &str) {
        self.metric_where(name, |line| line.ends_with(end), &format!("becomes {end}"));
    }

    /// The line of /metrics that begins with `name` and has `part` in it, when it is there: a broker's series wait a moment for
    /// its ids.
    pub(crate) fn metric(&self, name: &str, part: &str) -> String {
        self.metric_where(name, |line| line.contains(part), &format!("with {part}"))
    }

    fn metric_where(&self, name: &str, is_it: impl Fn(&str) -> bool, what: &str) -> String {
        let begun = Instant::now();
        loop {
            let (status, metrics) = self.get("/metrics");
            assert_eq!(status, 200);
            if let Some(line) = metrics.lines().find(|line| line.starts_with(name) && is_it(line)) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < DEADLINE, "{name} {what}:\n{metrics}");
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
