//! `kafkascope-proxy top`: clients, topics and groups as they are now, in a terminal.
//!
//! Everything in it comes from the admin server of a proxy that runs (`api`), so other tools can have the same. `model` is
//! what is known and chosen, `rows` makes tables of it, `keys` change what is chosen, `view` draws it, and `terminal`
//! is where it is drawn. Without a terminal the tables are printed once.

mod api;
mod keys;
mod model;
mod plain;
mod rows;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use kafkascope_service::exit;

use crate::config::UpstreamAddress;
use api::Api;

/// Live view of the clients, topics and groups of a proxy that runs.
///
/// Everything in it comes from the proxy's admin address. Where standard output is no terminal, tables are printed once.
#[derive(Debug, Parser)]
#[command(name = "kafkascope-proxy top", version, after_help = EXIT)]
struct Flags {
    /// The proxy's --admin address.
    #[arg(long, env = "KAFKASCOPE_ADMIN", value_name = "HOST:PORT", default_value = "127.0.0.1:9600")]
    admin: String,

    /// Print tables once, also to a terminal.
    #[arg(long)]
    once: bool,

    /// Print what the admin address says once, as one JSON object.
    #[arg(long, conflicts_with = "once")]
    json: bool,
}

const EXIT: &str = "\
Exit status: 0 when told to quit, or when all was printed; 64 for a wrong flag, 69 when the admin address does not answer
and all was to be printed once, 71 when the terminal cannot be used, 143 upon SIGTERM.";

/// Runs it. `arguments` begins with the name of the command.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(arguments) {
        Ok(flags) => flags,
        Err(message) => return exit::told(&message),
    };
    let address = match UpstreamAddress::parse(&flags.admin) {
        Ok(address) => address,
        Err(problem) => return failed(exit::USAGE, &format!("--admin: {:?} {problem}", flags.admin)),
    };
    let api = Api::new(address);
    if flags.json || flags.once || !io::stdout().is_terminal() {
        return once(&api, flags.json);
    }
    match terminal::run(&api) {
        Ok(status) => status.into(),
        Err(error) => failed(exit::OSERR, &format!("the terminal cannot be used: {error}")),
    }
}

fn once(api: &Api, json: bool) -> ExitCode {
    let answer = if json { api.json() } else { api.snapshot().map(|snapshot| plain::tables(&snapshot)) };
    match answer {
        Ok(text) => {
            // Nobody may be reading.
            _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => failed(exit::UNAVAILABLE, &format!("{} does not answer: {error}", api.address())),
    }
}

fn failed(status: u8, what: &str) -> ExitCode {
    eprintln!("kafkascope-proxy top: {what}");
    status.into()
}
