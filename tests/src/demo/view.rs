//! Where the demo shows itself: a live table on a terminal, plain tables otherwise, JSON for machines. Progress goes to
//! standard error, always.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    time::{Duration, Instant},
};

use anyhow::Result;
use crossterm::{
    cursor, queue,
    terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen},
};
use serde_json::Value;

use super::{Received, check::Line, clients::PLANS, host::Host, table};
use crate::{proxy::Client, receiver::Receiver};

/// How the demo is shown.
#[derive(Debug)]
pub(super) struct View {
    mode: Mode,
    on_screen: std::cell::Cell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Plain,
    Json,
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        let mode = match (json, stdout().is_terminal()) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Live,
            (false, false) => Mode::Plain,
        };
        Self { mode, on_screen: false.into() }
    }

    /// How often [`View::show`] makes sense.
    pub(super) fn interval(&self) -> Duration {
        match self.mode {
            Mode::Live => Duration::from_secs(1),
            Mode::Plain | Mode::Json => Duration::from_secs(5),
        }
    }

    /// One line for people.
    pub(super) fn say(&self, what: &str) {
        _ = writeln!(stderr(), "{what}");
    }

    /// Does something that may take a while, and says so.
    pub(super) fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        _ = write!(stderr(), "{what} ... ");
        _ = stderr().flush();
        let result = work();
        let end = if result.is_ok() { "ready" } else { "failed" };
        _ = writeln!(stderr(), "{end} after {:.1} s", started.elapsed().as_secs_f64());
        result
    }

    /// The state of the moment.
    pub(super) fn show(&self, age: Duration, clients: &[Client], host: &Host, received: Received, hints: &[String]) {
        let clients = &sorted(clients);
        let status = format!("{} s, the collector received {received}", age.as_secs());
        match self.mode {
            Mode::Live => {
                let table = table::clients(clients, self.width());
                let mut text = format!("kafkascope demo   {status}   Ctrl-C ends\n\n{table}\n\n{}\n", self.host(host));
                for plan in PLANS {
                    text += &format!("{:<16} {}\n", plan.client_id, plan.about);
                }
                text += &format!("\nTry in another terminal:\n  {}\n", hints.join("\n  "));
                self.draw(&text);
            }
            Mode::Plain => {
                _ = writeln!(stdout(), "{status}\n{}\n{}\n", table::clients(clients, None), self.host(host));
            }
            Mode::Json => {
                let records = clients.iter().fold(0.0, |sum, client| sum + client.records_per_s);
                self.say(&format!("{status}: {} clients, {records:.0} records/s", clients.len()));
            }
        }
    }

    /// What is known of the host, as wide as there is room.
    pub(super) fn host(&self, host: &Host) -> String {
        host.text(self.width())
    }

    /// Columns of the terminal; without one lines are as long as they need to be.
    fn width(&self) -> Option<u16> {
        (self.mode == Mode::Live).then(|| terminal::size().map_or(120, |(columns, _)| columns))
    }

    /// What stands at the end.
    pub(super) fn end(
        &self,
        clients: &[Client],
        host: &str,
        receiver: Option<&Receiver>,
        received: Received,
        lines: &[Line],
        hints: &[String],
    ) -> Result<()> {
        let width = self.width();
        let mut out = stdout();
        writeln!(out, "\nWhat the proxy saw:\n{}", table::clients(&sorted(clients), width))?;
        writeln!(out, "\n{host}")?;
        writeln!(out, "\nWhat the collector received: {received}")?;
        if let Some(receiver) = receiver {
            writeln!(out, "{}", table::collector(receiver, width))?;
            for violation in receiver.violations() {
                writeln!(out, "against the OTLP data model: {violation}")?;
            }
        }
        writeln!(out, "\nWhether all of it passed through the proxy:\n{}", table::check(lines, width))?;
        writeln!(
            out,
            "\nTry next, while a demo without --seconds runs in another terminal:\n  {}",
            hints.join("\n  ")
        )?;
        writeln!(out, "or, against your own cluster:\n  cargo xtask demo --bootstrap HOST:PORT")?;
        Ok(())
    }

    pub(super) fn json(&self, state: &Value) -> Result<()> {
        writeln!(stdout(), "{state:#}")?;
        Ok(())
    }

    /// Gives the terminal back.
    pub(super) fn close(&self) {
        if self.on_screen.take() {
            let mut out = stdout();
            _ = queue!(out, LeaveAlternateScreen, cursor::Show);
            _ = out.flush();
        }
    }

    fn draw(&self, text: &str) {
        let mut out = stdout();
        if !self.on_screen.replace(true) {
            _ = queue!(out, EnterAlternateScreen, cursor::Hide);
        }
        _ = queue!(out, cursor::MoveTo(0, 0));
        // One line more than there is room for would scroll the first away.
        let room = terminal::size().map_or(usize::MAX, |(_, rows)| usize::from(rows).saturating_sub(1));
        for line in text.lines().take(room) {
            _ = write!(out, "{line}");
            _ = queue!(out, Clear(ClearType::UntilNewLine));
            _ = write!(out, "\r\n");
        }
        _ = queue!(out, Clear(ClearType::FromCursorDown));
        _ = out.flush();
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.close();
    }
}

/// The demo's own clients first, in their order.
fn sorted(clients: &[Client]) -> Vec<Client> {
    let mut clients = clients.to_vec();
    let place = |client: &Client| PLANS.iter().position(|plan| plan.client_id == client.client_id);
    clients.sort_by_key(|client| place(client).unwrap_or(PLANS.len()));
    clients
}
