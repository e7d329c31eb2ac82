//! An embedded Kafka cluster: librdkafka's mock brokers, in a child process.
//!
//! It needs no Java and starts at once. It keeps records in memory, some megabytes a partition, and drops the oldest. It
//! aborts its process on requests that it does not expect, hence the child. It advertises its own addresses: clients
//! that shall go through a proxy need a [`crate::demo::relay::Relay`] behind the proxy.

use std::{io::Write as _, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use rdkafka::mocking::MockCluster as Cluster;
use tempfile::TempDir;

use crate::{eventually::eventually, process::Process};

/// A topic to make at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Number of partitions; their leaders are spread over the brokers.
    pub partitions: i32,
}

/// A running mock cluster. It ends when dropped, and when this process does.
#[derive(Debug)]
pub struct MockCluster {
    process: Process,
    brokers: Vec<SocketAddr>,
    _folder: TempDir,
}

const READY: &str = "brokers ";

impl MockCluster {
    /// Starts `program` (the `kafkascope-demo` binary) as a cluster and waits until its brokers listen.
    pub fn start(program: &Path, brokers: i32, topics: &[Topic]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args(["mock-cluster", "--brokers", &brokers.to_string()]);
        for Topic { name, partitions } in topics {
            command.args(["--topic", &format!("{name}:{partitions}")]);
        }
        let mut process = Process::start("the embedded Kafka", &command, &folder.path().join("log"))?;
        let brokers = eventually("the embedded Kafka to listen", Duration::from_secs(30), || {
            process.must_run()?;
            let output = process.output();
            let line = output.lines().find_map(|line| line.strip_prefix(READY));
            line.map(|line| line.split(',').map(|broker| broker.parse().context("a broker's address")).collect())
                .transpose()
        })?;
        Ok(Self { process, brokers, _folder: folder })
    }

    /// Addresses of the brokers, in the order of their ids, which start at 1.
    pub fn brokers(&self) -> &[SocketAddr] {
        &self.brokers
    }

    /// The child process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The child's work: be the cluster until killed.
pub fn serve(brokers: i32, topics: &[Topic]) -> Result<std::convert::Infallible> {
    let cluster = Cluster::new(brokers).context("cannot start the mock brokers")?;
    for Topic { name, partitions } in topics {
        cluster.create_topic(name, *partitions, brokers.min(3)).with_context(|| format!("cannot make topic {name}"))?;
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}{}", cluster.bootstrap_servers())?;
    stdout.flush()?;
    loop {
        std::thread::park();
    }
}
