//! A child process that takes commands as lines on stdin and answers in lines on stdout.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process;

/// Lines of stderr that are told.
const COMPLAINTS: usize = 20;

/// A running program that can be asked.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    complaints: File,
}

impl Dialogue {
    /// Starts the program. What it writes to stderr is kept for the error message of a failure.
    pub fn start(command: &Command) -> Result<Self> {
        let mut tied = process::tied(command);
        let complaints = tempfile::tempfile()?;
        tied.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
        let mut child =
            process::spawn(tied).with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("the child has no pipes")?;
        let (sender, lines) = channel();
        // Ends with the child's stdout, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines, complaints })
    }

    /// Sends one line.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").and_then(|()| self.stdin.flush()).context("the child does not listen")
    }

    /// Waits for the next line.
    pub fn next(&mut self, deadline: Instant) -> Result<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("the child did not answer in time{}", self.last_complaints()),
            Err(RecvTimeoutError::Disconnected) => bail!("the child has ended{}", self.last_complaints()),
        }
    }

    /// The end of what it wrote to stderr.
    fn last_complaints(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.complaints.rewind().and_then(|()| self.complaints.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let skip = text.lines().count().saturating_sub(COMPLAINTS);
        let last: String = text.lines().skip(skip).map(|line| format!("\n    {line}")).collect();
        if read.is_ok() { last } else { String::new() }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(500);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_line_is_answered_by_a_line() {
        let mut cat = Dialogue::start(&Command::new("cat")).unwrap();
        cat.tell("one").unwrap();
        cat.tell("two").unwrap();
        assert_eq!([cat.next(soon()).unwrap(), cat.next(soon()).unwrap()], ["one", "two"]);
    }

    #[test]
    fn a_child_that_has_ended_is_an_error_and_not_silence() {
        let mut ended = Dialogue::start(&Command::new("true")).unwrap();
        assert_eq!(ended.next(soon()).unwrap_err().to_string(), "the child has ended");
    }

    #[test]
    fn the_end_of_what_a_child_complained_of_is_in_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; seq 19 >&2; echo last >&2"]);
        let error = Dialogue::start(&command).unwrap().next(soon()).unwrap_err().to_string();
        assert!(error.ends_with("last") && !error.contains("first"), "{error}");
    }

    #[test]
    fn a_silent_child_is_given_up_at_the_deadline() {
        let mut cat = Dialogue::start(&Command::new("cat")).unwrap();
        let error = cat.next(Instant::now() + Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "the child did not answer in time");
    }
}
