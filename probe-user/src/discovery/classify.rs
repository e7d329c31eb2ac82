//! Whether a process is one to watch, and as what.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use regex::Regex;

use super::Role;
use super::cgroup::Cgroup;
use super::command_line::{self, ARGUMENT_FILE_LIMIT, COMMAND_LINE_LIMIT, CommandLine, JavaCommand, Main};
use super::sockets::{Listeners, listens};
use crate::roots::{self, Pid, Roots};

/// Main class of a broker, in KRaft mode and with ZooKeeper.
const KAFKA: &str = "kafka.Kafka";

/// Main classes of a ZooKeeper server: an ensemble's, which also serves a single one, and the bare single one.
const ZOOKEEPER: [&str; 2] =
    ["org.apache.zookeeper.server.quorum.QuorumPeerMain", "org.apache.zookeeper.server.ZooKeeperServerMain"];

const PROXY: &[u8] = b"kafkascope-proxy";

/// Another process to watch. All that is given must hold; a rule that gives nothing finds nothing.
#[derive(Debug, Clone)]
pub struct Rule {
    /// How it is called.
    pub name: String,
    /// Found in the arguments, joined by blanks.
    pub command_line: Option<regex::bytes::Regex>,
    /// Found in the path of the control group.
    pub cgroup: Option<Regex>,
    /// A TCP port that it listens on.
    pub port: Option<u16>,
}

/// What a process was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) role: Role,
    /// Of a JVM.
    pub(crate) java: Option<JavaCommand>,
    pub(crate) command_line: CommandLine,
}

/// Nothing if it is none to watch, or not yet: a script becomes a JVM by and by, and a port opens late.
pub(crate) fn classify(roots: &Roots, rules: &[Rule], listeners: &Listeners, pid: Pid) -> Option<Class> {
    let text = roots::read(&roots.process(pid).join("cmdline"), COMMAND_LINE_LIMIT).ok()?;
    let command_line = CommandLine::parse(&text)?;
    let executable = fs::read_link(roots.process(pid).join("exe")).unwrap_or_default();
    let executable = command_line::base_name(executable.as_os_str().as_bytes());
    // As the kernel marks a file that was replaced, by an upgrade for one.
    let executable = executable.strip_suffix(b" (deleted)").unwrap_or(executable);
    let is = |name: &[u8]| executable == name || command_line.program() == name;
    let java =
        is(b"java").then(|| command_line.java(|path| roots.read_inside(pid, path, ARGUMENT_FILE_LIMIT).ok())).flatten();
    let role = match &java {
        Some(JavaCommand { main: Main::Class(class), .. }) if class == KAFKA => Some(Role::Broker),
        Some(JavaCommand { main: Main::Class(class), .. }) if ZOOKEEPER.contains(&class.as_str()) => {
            Some(Role::ZooKeeper)
        }
        _ if is(PROXY) => Some(Role::Proxy),
        _ => None,
    };
    let role = role.or_else(|| {
        let rule = rules.iter().find(|rule| rule.finds(roots, listeners, pid, &command_line))?;
        Some(Role::Other(rule.name.as_str().into()))
    })?;
    Some(Class { role, java, command_line })
}

impl Rule {
    fn finds(&self, roots: &Roots, listeners: &Listeners, pid: Pid, command_line: &CommandLine) -> bool {
        // The dearest last.
        let asked = self.command_line.is_some() || self.cgroup.is_some() || self.port.is_some();
        asked
            && self.command_line.as_ref().is_none_or(|pattern| pattern.is_match(&command_line.joined()))
            && self.cgroup.as_ref().is_none_or(|pattern| pattern.is_match(&Cgroup::of(roots, pid).path))
            && self.port.is_none_or(|port| listens(roots, listeners, pid, port))
    }
}
