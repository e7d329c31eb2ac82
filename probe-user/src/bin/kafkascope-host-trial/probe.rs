//! The probe under trial: started, asked, ended.

use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::exposition::Exposition;

/// Loading programs takes seconds on an emulated processor.
const START: Duration = Duration::from_secs(120);

/// A scrape may be this old, so an event shows in the next but one after it.
const AGE: Duration = Duration::from_millis(1200);

/// For how long a figure may keep moving after all is done.
const SETTLING: Duration = Duration::from_secs(20);

/// The names under which the probe finds the trial and its actors, and the command lines that it finds them by. A
/// letter in brackets, so that they do not match the probe's own command line; from the beginning, so that they do not
/// match what has started them; and no blanks, which part one rule from the next.
const WATCHED: [(&str, &str); 4] = [
    (TRIAL, "^\\S*kafkascope-host-tria[l].--probe"),
    (BURNER, "^\\S*kafkascope-host-tria[l].act.burn"),
    (TALKER, "^\\S*kafkascope-host-tria[l].act.talk"),
    (MORTAL, "^\\S*kafkascope-host-tria[l].act.wait"),
];
pub(crate) const TRIAL: &str = "trial";
pub(crate) const BURNER: &str = "burner";
pub(crate) const TALKER: &str = "talker";
pub(crate) const MORTAL: &str = "mortal";

/// Labels of what belongs to a process.
pub(crate) const PROCESS: &str = "kafkascope_process_name";

/// A probe that runs.
pub(crate) struct Probe {
    child: Child,
    admin: SocketAddr,
}

impl Probe {
    /// Starts it and waits until it is ready and has found the trial.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        // By way of this program, so that it ends with it however that ends.
        let mut command = Command::new(env::current_exe()?);
        command.args(["become", "--"]).arg(program).arg("--admin").arg(admin.to_string());
        for (name, pattern) in WATCHED {
            command.arg("--watch").arg(format!("{name}={pattern}"));
        }
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
            command.env_remove(name);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut probe = Self { child, admin };
        let deadline = Instant::now() + START;
        while get(probe.admin, "/healthz").is_err() {
            if let Some(status) = probe.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if Instant::now() > deadline {
                bail!("not ready after {} s", START.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        probe.await_process(TRIAL)?;
        Ok(probe)
    }

    /// What it says now.
    pub(crate) fn scrape(&self) -> Result<Exposition> {
        Ok(Exposition::parse(&get(self.admin, "/metrics")?))
    }

    /// What it says once it has nothing new to say: two scrapes, longer apart than one may be old, that agree on
    /// `figure`.
    pub(crate) fn settled(&self, figure: impl Fn(&Exposition) -> f64) -> Result<Exposition> {
        // The first one may be from before the last event.
        thread::sleep(AGE);
        let mut last = figure(&self.scrape()?);
        let deadline = Instant::now() + SETTLING;
        loop {
            thread::sleep(AGE);
            let scrape = self.scrape()?;
            let now = figure(&scrape);
            if now == last {
                return Ok(scrape);
            }
            if Instant::now() > deadline {
                bail!("the figure still moves after {} s: {last}, {now}", SETTLING.as_secs());
            }
            last = now;
        }
    }

    /// What it says of something that never rests, between two looks at the same elsewhere: the scrape is younger than
    /// the first of them.
    pub(crate) fn between<T>(&self, look: impl Fn() -> Result<T>) -> Result<(T, Exposition, T)> {
        let first = look()?;
        thread::sleep(AGE);
        Ok((first, self.scrape()?, look()?))
    }

    /// Waits until it has found a process that it was told to watch.
    pub(crate) fn await_process(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + SETTLING;
        while self.is_up(name)? != Some(true) {
            if Instant::now() > deadline {
                bail!("it did not find the process {name} in {} s", SETTLING.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Whether it says that a process is up; nothing if it says nothing.
    pub(crate) fn is_up(&self, name: &str) -> Result<Option<bool>> {
        let scrape = self.scrape()?;
        let labels = [(PROCESS, name)];
        let values = scrape.series("kafkascope_process_up", &labels).map(|series| series.value);
        Ok(values.reduce(f64::max).map(|up| up > 0.0))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The body of the answer to `GET path`, by HTTP/1.0: no chunks.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let patience = Duration::from_secs(30);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    // In one piece: a server may take what comes first for all of it.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("GET {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without an end of its head")?;
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => bail!("GET {path}: status {status:?}: {body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves metrics as a probe does: `first` once, then `last`.
    fn fake(first: &'static str, last: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                _ = stream.read(&mut [0; 1024]).unwrap();
                let body = if number == 0 { first } else { last };
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_figure_that_moves_is_waited_for() {
        let admin = fake("fsyncs 1\n", "fsyncs 7\nkafkascope_process_up{kafkascope_process_name=\"trial\"} 1\n");
        let child = Command::new("true").spawn().unwrap();
        let probe = Probe { child, admin };
        let scrape = probe.settled(|scrape| scrape.sum("fsyncs", &[])).unwrap();
        assert_eq!(scrape.sum("fsyncs", &[]), 7.0);
        assert_eq!((probe.is_up(TRIAL).unwrap(), probe.is_up(MORTAL).unwrap()), (Some(true), None));
    }
}
