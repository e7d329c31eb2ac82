//! Processes that the trial looks at: told what to do by a word on standard input, answering with a line.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::sys;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Uses CPU time
    Burn,
    /// Sends to itself over TCP
    Talk,
    /// Does nothing
    Wait,
}

/// A process that plays a role; ends with this one.
pub(crate) struct Actor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start(role: &str) -> Result<Self> {
        Self::by(&[], role)
    }

    /// In a network namespace of its own.
    pub(crate) fn in_own_network(role: &str) -> Result<Self> {
        Self::by(&["unshare", "--net"], role).context("in a network of its own")
    }

    fn by(wrapper: &[&str], role: &str) -> Result<Self> {
        let own = env::current_exe()?;
        let mut command = Command::new(&own);
        command.args(["become", "--"]).args(wrapper).arg(&own).args(["act", role]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut actor = Self { child, orders, answers };
        actor.ask("hello")?;
        Ok(actor)
    }

    /// What it answers to an order.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim().split_once(' ') {
            Some(("ok", result)) => Ok(result.to_owned()),
            Some(("cannot", why)) => bail!("{why}"),
            _ => bail!("it ended"),
        }
    }

    /// Kills it, and takes note of its end, so that nothing of it is left.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

/// Plays a role until there are no more orders.
pub(crate) fn act(role: Role) -> Result<()> {
    let mut talk = None;
    for order in io::stdin().lock().lines() {
        match obey(role, &order?, &mut talk) {
            Ok(result) => println!("ok {result}"),
            Err(why) => println!("cannot {}", format!("{why:#}").replace('\n', " ")),
        }
    }
    Ok(())
}

fn obey(role: Role, order: &str, talk: &mut Option<Talk>) -> Result<String> {
    match (role, order) {
        // Listens from the beginning, as a broker does by the time that it is one.
        (Role::Talk, "hello") => *talk = Some(Talk::listen()?),
        (_, "hello") => {}
        (Role::Burn, "burn") => return burn(),
        (Role::Talk, order) => return talk.as_mut().context("no hello")?.obey(order),
        (_, order) => bail!("{order} is no order"),
    }
    Ok("hello".to_owned())
}

/// Enough that a clock of 100 ticks a second tells a hundredth of it.
const BURNT: f64 = 4.0;

fn burn() -> Result<String> {
    let before = sys::cpu_seconds()?;
    loop {
        let burnt = sys::cpu_seconds()? - before;
        if burnt >= BURNT {
            return Ok(burnt.to_string());
        }
    }
}

/// A connection to itself.
struct Talk {
    listener: TcpListener,
    /// The side that connected, and the one that accepted.
    ends: Option<(TcpStream, TcpStream)>,
}

/// Sent upon each order; with some loss a retransmission waits for a fifth of a second or more.
const SENT: usize = 4 << 20;

/// Of so many segments are dropped, both those with data and those that acknowledge them.
const LOSS: &str = "table ip trial {\n chain input {\n  type filter hook input priority 0; policy accept;\n  \
     meta l4proto tcp numgen random mod 100 < 4 counter drop\n }\n}\n";

impl Talk {
    fn listen() -> Result<Self> {
        // Segments as on a wire, so that there are many.
        run(Command::new("ip").args(["link", "set", "lo", "up", "mtu", "1500"]), "")?;
        Ok(Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, ends: None })
    }

    /// All but `connect` answer with how many segments the kernel had to send again.
    fn obey(&mut self, order: &str) -> Result<String> {
        if order == "connect" {
            // Before anything is lost: a lost handshake is a retransmission of no connection yet.
            let connected = TcpStream::connect(self.listener.local_addr()?)?;
            self.ends = Some((connected, self.listener.accept()?.0));
            return Ok("connected".to_owned());
        }
        let (connected, accepted) = self.ends.as_ref().context("not connected")?;
        let count = match order {
            "send" => send(connected, accepted)?,
            "lose as who connected" => lossy(|| send(connected, accepted))?,
            "lose as who accepted" => lossy(|| send(accepted, connected))?,
            order => bail!("{order} is no order"),
        };
        Ok(count.to_string())
    }
}

/// Does it while segments are lost.
fn lossy(talk: impl Fn() -> Result<u64>) -> Result<u64> {
    let before = retransmitted()?;
    run(Command::new("nft").args(["-f", "-"]), LOSS)?;
    // Older kernels send few segments, and large ones: by chance none of them is lost.
    let talk = |_| if retransmitted()? == before { talk().map(drop) } else { Ok(()) };
    let outcome = (0..10).try_for_each(talk);
    run(Command::new("nft").args(["delete", "table", "ip", "trial"]), "")?;
    outcome?;
    Ok(settled()? - before)
}

fn send(mut from: &TcpStream, to: &TcpStream) -> Result<u64> {
    let before = retransmitted()?;
    let mut to = to.try_clone()?;
    let reader = thread::spawn(move || to.read_exact(&mut vec![0; SENT]));
    from.write_all(&vec![0x5a; SENT])?;
    reader.join().ok().context("the reader panicked")??;
    Ok(retransmitted()? - before)
}

/// The number of retransmitted segments once it stays: the last acknowledgement may have been lost.
fn settled() -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut last, mut since) = (retransmitted()?, Instant::now());
    // Longer than the first two timeouts of a retransmission.
    while since.elapsed() < Duration::from_secs(2) {
        let now = retransmitted()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if Instant::now() > deadline {
            bail!("retransmissions do not end");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(last)
}

/// `RetransSegs` of this network namespace.
fn retransmitted() -> Result<u64> {
    let statistics = fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = statistics.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let value = pairs.find(|(name, _)| *name == "RetransSegs").map(|(_, value)| value);
    value.context("no RetransSegs")?.parse().context("RetransSegs")
}

fn run(command: &mut Command, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("no {program}"))?;
    // Taken, so that it is closed afterwards.
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.lines().next().unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_count_of_retransmissions() {
        assert!(retransmitted().is_ok());
    }
}
