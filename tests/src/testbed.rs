//! What `cargo xtask setup` has put into place, and why something is not there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The folder that `cargo xtask setup` fills: `$KAFKASCOPE_CACHE`, or `target/testbed` in the workspace.
#[must_use]
pub fn root() -> PathBuf {
    env::var_os("KAFKASCOPE_CACHE").map_or_else(|| workspace().join("target/testbed"), PathBuf::from)
}

/// Something that tests need, and some machines lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Java and the jars of Apache Kafka.
    Kafka,
    /// The OpenTelemetry collector.
    Collector,
    /// The client program on franz-go.
    Franz,
    /// Python and kafka-python.
    KafkaPython,
    /// Node.js and KafkaJS.
    Kafkajs,
    /// kcat.
    Kcat,
}

impl Need {
    /// Why it cannot be used here; nothing if it can.
    #[must_use]
    pub fn lack(self) -> Option<String> {
        match self {
            Self::Kafka if which("java").is_none() => Some("no java on this machine".to_owned()),
            Self::Kafka => lack_of("Apache Kafka", &root().join("kafka/3.9.2/libs")),
            Self::Collector => lack_of("the OpenTelemetry collector", &collector()),
            Self::Franz => lack_of("the franz-go client", &clients().join("franz")),
            Self::KafkaPython if which("python3").is_none() => Some("no python3 on this machine".to_owned()),
            Self::KafkaPython => lack_of("kafka-python", &clients().join("python")),
            Self::Kafkajs if which("node").is_none() => Some("no node on this machine".to_owned()),
            Self::Kafkajs => lack_of("KafkaJS", &clients().join("javascript")),
            Self::Kcat => which("kcat").is_none().then(|| "no kcat on this machine".to_owned()),
        }
    }
}

/// The collector's program.
#[must_use]
pub fn collector() -> PathBuf {
    root().join("collector/otelcol")
}

/// The client program on franz-go.
#[must_use]
pub fn franz() -> Command {
    Command::new(clients().join("franz"))
}

/// The client program on kafka-python.
#[must_use]
pub fn kafka_python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", clients().join("python"));
    command.arg(workspace().join("tests/clients/python/client.py"));
    command
}

/// The client program on KafkaJS.
#[must_use]
pub fn kafkajs() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", clients().join("javascript/node_modules"));
    command.arg(workspace().join("tests/clients/javascript/client.js"));
    command
}

/// What client programs in other languages are made of.
fn clients() -> PathBuf {
    root().join("clients")
}

/// The full path of `program`, if the shell would find it.
#[must_use]
pub fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn lack_of(what: &str, path: &Path) -> Option<String> {
    (!path.exists()).then(|| format!("{what} is not set up (cargo xtask setup)"))
}
