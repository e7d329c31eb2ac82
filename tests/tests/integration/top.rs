//! `kafkascope-proxy top` as people have it: in a terminal, before a proxy with traffic; and in a pipe.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::port::Port;
use kafkascope_tests::process;
use kafkascope_tests::proxy;
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::sink::{Stand, exchange};
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(60);

/// What `sender` has sent.
const REQUESTS: i32 = 20;

/// What ends the other screen, on which it draws (xterm's 1049).
const LEAVE: &str = "\u{1b}[?1049l";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("top::keys_work_and_the_terminal_is_given_back", &[], keys),
        trial("top::a_signal_gives_the_terminal_back", &[], signal),
        trial("top::a_proxy_that_is_away_is_said_and_waited_for", &[], away),
        trial("top::in_a_pipe_tables_or_json_come_once", &[], piped),
    ]
}

/// A proxy through which `sender`, who is still connected, has produced to `orders`.
fn busy() -> Result<(Stand, Connection)> {
    let stand = Stand::start()?;
    let mut connection = Connection::open(stand.front.address())?;
    exchange(&mut connection, REQUESTS, &batch())?;
    eventually("the client's row", PATIENCE, || Ok(stand.proxy.client("sender").ok()))?;
    Ok((stand, connection))
}

fn batch() -> Vec<u8> {
    wire::batch(0, 10, &[7; 500])
}

/// The program in a terminal of 80 columns and 24 lines.
struct Screen {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    drawn: String,
    more: Receiver<Vec<u8>>,
}

impl Screen {
    fn start(admin: &str) -> Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?;
        let terminal = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        let end = || Ok::<_, anyhow::Error>(Stdio::from(terminal.try_clone()?));
        let mut command = proxy::command()?;
        command.args(["top", "--admin", admin]).env("TERM", "xterm-256color");
        let mut command = process::tied(&command);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let child = process::spawn(command)?;
        let mut screen = File::from(controller.try_clone()?);
        let (send, more) = channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                if send.send(piece[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, keyboard: File::from(controller), terminal, drawn: String::new(), more })
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Waits until these words stand somewhere.
    fn shows(&mut self, words: &str) -> Result<()> {
        let shown = eventually(&format!("{words:?} on the screen"), PATIENCE, || {
            self.read();
            Ok(screen(&self.drawn).iter().any(|line| line.contains(words)).then_some(()))
        });
        shown.with_context(|| screen(&self.drawn).join("\n"))
    }

    fn read(&mut self) {
        while let Ok(more) = self.more.try_recv() {
            self.drawn += &String::from_utf8_lossy(&more);
        }
    }

    fn is_raw(&self) -> Result<bool> {
        Ok(!tcgetattr(self.terminal.as_fd())?.local_modes.contains(LocalModes::ECHO))
    }

    fn terminate(&self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no pid")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Its exit status, once it has ended by itself with the terminal as it was.
    fn ended(mut self) -> Result<Option<i32>> {
        let status = eventually("its end", PATIENCE, || Ok(self.child.try_wait()?))?;
        eventually("the other screen to be left", PATIENCE, || {
            self.read();
            Ok(self.drawn.contains(LEAVE).then_some(()))
        })?;
        ensure!(!self.is_raw()?, "the terminal is left without echo");
        Ok(status.code())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended already, if all went well.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What stands on a screen after all of `drawn`: only what is drawn changes, so words come in pieces.
fn screen(drawn: &str) -> Vec<String> {
    let mut cells = vec![vec![' '; 80]; 24];
    let (mut row, mut column) = (0, 0);
    let mut rest = drawn.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            if let Some(cell) = cells.get_mut(row).and_then(|line: &mut Vec<char>| line.get_mut(column)) {
                *cell = c;
            }
            column += 1;
            continue;
        }
        if rest.next_if_eq(&'[').is_none() {
            continue;
        }
        let mut parameters = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_ascii_alphabetic()) {
            parameters.push(c);
        }
        match rest.next() {
            Some('H') => {
                let mut numbers = parameters.split(';').map(|number| number.parse().unwrap_or(1));
                (row, column) = (numbers.next().unwrap_or(1) - 1, numbers.next().unwrap_or(1) - 1);
            }
            Some('J') => cells.iter_mut().flatten().for_each(|cell| *cell = ' '),
            _ => {}
        }
    }
    cells.into_iter().map(|line| line.into_iter().collect()).collect()
}

fn keys() -> Result<()> {
    let (stand, _connection) = busy()?;
    let mut screen = Screen::start(&stand.proxy.admin().to_string())?;
    screen.shows("sender")?;
    ensure!(screen.is_raw()?, "keys are echoed");
    screen.press("\r")?;
    screen.shows("topics of sender")?;
    screen.shows("orders")?;
    screen.press("\t")?;
    screen.shows("Produce")?;
    screen.press("3")?;
    screen.shows("no consumer groups seen yet")?;
    screen.press("2")?;
    screen.shows("TOPIC")?;
    screen.shows("orders")?;
    screen.press("q")?;
    let status = screen.ended()?;
    ensure!(status == Some(0), "status {status:?}");
    Ok(())
}

fn signal() -> Result<()> {
    let (stand, _connection) = busy()?;
    let mut screen = Screen::start(&stand.proxy.admin().to_string())?;
    screen.shows("sender")?;
    screen.terminate()?;
    let status = screen.ended()?;
    ensure!(status == Some(143), "status {status:?}");
    Ok(())
}

fn away() -> Result<()> {
    let admin = Port::claim()?;
    let mut screen = Screen::start(&admin.address().to_string())?;
    screen.shows("does not answer")?;
    let answers = TcpListener::bind(admin.address())?;
    thread::spawn(move || {
        for mut stream in answers.incoming().flatten() {
            let mut asked = [0; 1024];
            if matches!(stream.read(&mut asked), Ok(1..)) {
                // Whoever asked may be gone.
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]");
            }
        }
    });
    screen.shows("no clients seen yet")?;
    screen.press("q")?;
    let status = screen.ended()?;
    ensure!(status == Some(0), "status {status:?}");
    let nobody = Port::claim()?.address().to_string();
    let output = top(&["--admin", &nobody])?;
    ensure!(output.status.code() == Some(69), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains(&nobody), "{output:?}");
    let output = top(&["--colour"])?;
    ensure!(output.status.code() == Some(64), "{output:?}");
    Ok(())
}

fn piped() -> Result<()> {
    let (stand, _connection) = busy()?;
    let admin = stand.proxy.admin().to_string();
    let output = top(&["--admin", &admin])?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("\nsender ") && text.contains("\norders ") && text.contains("no consumer groups"), "{text}");
    ensure!(!text.contains('\u{1b}'), "{text}");

    let output = top(&["--admin", &admin, "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let all: Value = serde_json::from_slice(&output.stdout)?;
    let row = |list: &str, key: &str, name: &str| {
        let rows = all[list].as_array().into_iter().flatten();
        rows.into_iter().find(|row| row[key] == name).cloned().with_context(|| format!("no {name} in {all}"))
    };
    let topic = row("topics", "topic", "orders")?;
    let sent = batch().len() as u64 * REQUESTS as u64;
    ensure!(topic["bytes_in"] == sent && topic["records_in"] == 200 && topic["producers"] == 1, "{topic}");
    ensure!(topic["clients"][0]["client_id"] == "sender" && topic["clients"][0]["bytes_in"] == sent, "{topic}");
    let client = row("clients", "client_id", "sender")?;
    ensure!(client["topics"][0]["topic"] == "orders" && client["topics"][0]["records_in"] == 200, "{client}");
    ensure!(client["apis"]["Produce"]["requests"] == 20, "{client}");
    Ok(())
}

fn top(arguments: &[&str]) -> Result<std::process::Output> {
    let mut command: Command = proxy::command()?;
    Ok(command.arg("top").args(arguments).stdin(Stdio::null()).output()?)
}
