//! Real Apache Kafka clusters in KRaft mode, each broker a process of its own on 127.0.0.1.

mod log;
mod properties;
mod tools;

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::java::{self, Tool};
use crate::port::Port;
use crate::process::Process;
use crate::wire;
pub use log::LoggedBatch;

/// A broker is up in 5 s on an idle machine, in half a minute on a busy one.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Which Apache Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 4.3.1.
    V4,
    /// 3.9.2, the last line that still serves the oldest clients.
    V39,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V39];

    /// As people say.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V39 => "3.9",
        }
    }

    /// As in the names of the jars.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::V4 => "4.3.1",
            Self::V39 => "3.9.2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

/// What cluster to start.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// Which Kafka.
    pub version: Version,
    /// How many brokers; the first is the controller too.
    pub brokers: u16,
    /// More broker properties; they win over the standard ones.
    pub properties: Vec<(String, String)>,
}

impl ClusterSpec {
    /// A cluster with standard properties.
    #[must_use]
    pub fn new(version: Version, brokers: u16) -> Self {
        Self { version, brokers, properties: Vec::new() }
    }

    /// Adds a broker property.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A running cluster. Its processes and data are gone when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    version: Version,
    id: String,
    brokers: Vec<Broker>,
    folder: TempDir,
}

/// One broker.
#[derive(Debug)]
pub struct Broker {
    id: u16,
    ports: Ports,
    folder: PathBuf,
    process: Option<Process>,
}

/// The ports of a broker. All listeners are plain text.
#[derive(Debug)]
struct Ports {
    /// For oracles and administration.
    direct: Port,
    /// Between brokers.
    internal: Port,
    controller: Port,
    jmx: Port,
    /// Where the broker listens for what comes through a proxy.
    proxied: Port,
    /// What it advertises to clients that come this way: here the proxy, or something before it, has to listen.
    front: Port,
}

impl Ports {
    fn claim() -> Result<Self> {
        Ok(Self {
            direct: Port::claim()?,
            internal: Port::claim()?,
            controller: Port::claim()?,
            jmx: Port::claim()?,
            proxied: Port::claim()?,
            front: Port::claim()?,
        })
    }
}

impl Broker {
    /// Node id, from 1.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Address for clients that go past the proxy.
    #[must_use]
    pub fn direct(&self) -> SocketAddr {
        self.ports.direct.address()
    }

    /// Address that a proxy forwards to.
    #[must_use]
    pub fn upstream(&self) -> SocketAddr {
        self.ports.proxied.address()
    }

    /// Address that clients of [`Broker::upstream`] are told: the proxy must listen here.
    #[must_use]
    pub fn front(&self) -> SocketAddr {
        self.ports.front.address()
    }

    /// Whether its process is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The broker's process.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn launch(&mut self, version: Version) -> Result<()> {
        let mut command = Command::new("java");
        command.args(["-Xms256m", "-Xmx384m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]);
        // Quick to start, and not to take the processor from what is being tested.
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
        command.args(java::archive(version, "broker.jsa"));
        command.args([java::log_configuration(version), "-Djava.rmi.server.hostname=127.0.0.1".to_owned()]);
        command.args(["-cp", &java::class_path(version)?, "kafka.Kafka"]).arg(self.folder.join("server.properties"));
        let name = format!("broker {} of Kafka {version}", self.id);
        self.process = Some(Process::start(&name, &command, &self.folder.join("log"))?);
        Ok(())
    }
}

impl Cluster {
    /// Starts one and waits until every broker knows all others.
    pub fn start(spec: &ClusterSpec) -> Result<Self> {
        ensure!(spec.brokers > 0, "a cluster needs a broker");
        let folder = tempfile::Builder::new().prefix("kafkascope-cluster-").tempdir()?;
        let mut brokers = Vec::new();
        for id in 1..=spec.brokers {
            let folder = folder.path().join(id.to_string());
            fs::create_dir_all(&folder)?;
            brokers.push(Broker { id, ports: Ports::claim()?, folder, process: None });
        }
        let mut cluster = Self { version: spec.version, id: fresh_id(), brokers, folder };
        cluster.format(spec)?;
        for broker in &mut cluster.brokers {
            broker.launch(spec.version)?;
        }
        cluster.wait_ready(START_LIMIT)?;
        Ok(cluster)
    }

    /// Its cluster id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// All brokers, in the order of their ids.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// Bootstrap servers for clients that go past the proxy.
    #[must_use]
    pub fn direct(&self) -> String {
        join(self.brokers.iter().map(Broker::direct))
    }

    /// Bootstrap servers for clients that go through whatever listens at the front ports.
    #[must_use]
    pub fn front(&self) -> String {
        join(self.brokers.iter().map(Broker::front))
    }

    /// For a proxy: where to listen, and where to forward that to.
    #[must_use]
    pub fn routes(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.brokers.iter().map(|broker| (broker.front(), broker.upstream())).collect()
    }

    /// Waits until every broker that is up names all brokers that are up.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let up: Vec<u16> = self.brokers.iter().filter(|broker| broker.is_up()).map(Broker::id).collect();
        for broker in &mut self.brokers {
            let Some(process) = &mut broker.process else { continue };
            let address = broker.ports.direct.address();
            process.until(&format!("broker {} to know brokers {up:?}", broker.id), limit, || {
                let metadata = wire::metadata(address, &[])?;
                let known = |id: &u16| metadata.brokers.iter().any(|(known, ..)| *known == i32::from(*id));
                Ok(up.iter().all(known) && metadata.controller >= 0)
            })?;
        }
        Ok(())
    }

    /// Creates a topic and waits until every broker names a leader for each partition, and serves those that it leads.
    pub fn create_topic(&self, name: &str, partitions: u16, replicas: u16) -> Result<()> {
        let first = self.brokers.iter().find(|broker| broker.is_up()).context("no broker is up")?;
        wire::create_topic(first.direct(), name, i32::from(partitions), i16::try_from(replicas)?)?;
        for broker in self.brokers.iter().filter(|broker| broker.is_up()) {
            eventually(&format!("leaders of topic {name}"), START_LIMIT, || {
                let metadata = wire::metadata(broker.direct(), &[name])?;
                let topic = metadata.topics.first().context("no such topic")?;
                let led = topic.partitions.iter().filter(|(_, leader, _)| *leader > 0).count();
                let is_led = topic.error == 0 && led == usize::from(partitions);
                let own = topic.partitions.iter().filter(|(_, leader, _)| *leader == i32::from(broker.id));
                let own: Vec<_> = own.map(|(partition, ..)| *partition).collect();
                Ok((is_led && wire::serves(broker.direct(), name, &own)?).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Ends a broker at once, as a power cut would.
    pub fn kill(&mut self, id: u16) -> Result<()> {
        let process = self.broker_mut(id)?.process.take();
        process.with_context(|| format!("broker {id} is not up"))?.kill()
    }

    /// Asks a broker to stop, which moves its leaders first, and waits for it.
    pub fn stop(&mut self, id: u16) -> Result<()> {
        let process = self.broker_mut(id)?.process.take();
        let mut process = process.with_context(|| format!("broker {id} is not up"))?;
        process.signal(Signal::TERM)?;
        process.wait(START_LIMIT)?;
        Ok(())
    }

    /// Starts a broker again on the data it had; see [`Cluster::wait_ready`].
    pub fn restart(&mut self, id: u16) -> Result<()> {
        let version = self.version;
        let broker = self.broker_mut(id)?;
        if broker.is_up() {
            bail!("broker {id} is up");
        }
        broker.launch(version)
    }

    /// Addresses of the brokers' JMX connectors, which are switched on here.
    ///
    /// The usual flags at the start would also open a second connector, on a random port of every interface.
    pub fn jmx(&self) -> Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for broker in &self.brokers {
            let Some(process) = &broker.process else { continue };
            let port = broker.ports.jmx.number();
            if std::net::TcpStream::connect(broker.ports.jmx.address()).is_err() {
                let mut jcmd = Command::new("jcmd");
                jcmd.args([process.id().to_string().as_str(), "ManagementAgent.start"]);
                jcmd.args([format!("jmxremote.port={port}"), format!("jmxremote.rmi.port={port}")]);
                jcmd.args(["jmxremote.host=127.0.0.1", "jmxremote.authenticate=false", "jmxremote.ssl=false"]);
                java::run("jcmd", &jcmd, Duration::from_secs(60))?;
            }
            addresses.push(broker.ports.jmx.address());
        }
        Ok(addresses)
    }

    fn broker_mut(&mut self, id: u16) -> Result<&mut Broker> {
        self.brokers.iter_mut().find(|broker| broker.id == id).with_context(|| format!("no broker {id}"))
    }

    fn format(&self, spec: &ClusterSpec) -> Result<()> {
        let mut files = Vec::new();
        for broker in &self.brokers {
            let path = broker.folder.join("server.properties");
            fs::write(&path, properties::of(spec, broker, &self.brokers))?;
            files.push(path);
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/FormatStorage.java");
        let tool = Tool::source(self.version, &source)?.args([&self.id]).args(files);
        tool.run(START_LIMIT).context("cannot format the brokers' storage")?;
        Ok(())
    }

    /// Where the brokers' data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Before the folder goes: a broker whose files vanish fills its log.
        for broker in &mut self.brokers {
            broker.process = None;
        }
    }
}

/// 16 random bytes as Kafka writes them. Clusters of tests that run side by side share the host.
fn fresh_id() -> String {
    let random = || RandomState::new().hash_one(0);
    // Without its first bit it does not begin with `-`, which the tool that is given it would read as a flag.
    URL_SAFE_NO_PAD.encode([(random() >> 1).to_be_bytes(), random().to_be_bytes()].concat())
}

fn join(addresses: impl Iterator<Item = SocketAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}
