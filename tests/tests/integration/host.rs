//! What the probe finds of real brokers, a real ZooKeeper server and the proxy on this host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafkascope_probe::discovery::log_dirs::{FileKind, Inode, LogDirs, kernel_device};
use kafkascope_probe::discovery::{Discovery, NodeId, Process as Found, Role};
use kafkascope_probe::host::filesystem::FileSystems;
use kafkascope_probe::jvm::{Jvm, Now};
use kafkascope_probe::process::up::Up;
use kafkascope_probe::roots::Roots;
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::java;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::port::Port;
use kafkascope_tests::process::Process;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;

use crate::trial::{Plain, trial};

/// A broker is up by then on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    let plays: [Plain; 2] = [
        ("host::brokers_and_proxy_are_found_and_their_files_and_collections_known", kraft),
        ("host::zookeeper_and_its_broker_are_found", zookeeper),
    ];
    plays.into_iter().map(|(name, run)| trial(name, &[Need::Kafka], run)).collect()
}

/// Others may run on this machine: only that of `id` is looked at.
fn find(discovery: &mut Discovery, id: u32) -> Result<Option<Arc<Found>>> {
    discovery.scan(Instant::now())?;
    Ok(discovery.processes().find(|process| process.pid.0 == id).cloned())
}

fn ports(process: &Found) -> BTreeSet<u16> {
    process.listeners.iter().map(|address| address.port()).collect()
}

fn log_dirs(process: &Found) -> Vec<PathBuf> {
    process.log_dirs.iter().map(|log_dir| log_dir.inside.clone()).collect()
}

fn kraft() -> Result<()> {
    let mut cluster = Cluster::start(&ClusterSpec::new(Version::V4, 2))?;
    cluster.create_topic("orders", 2, 2)?;
    let mut proxy = Proxy::start(&ProxySpec::new(cluster.routes()))?;
    let mut discovery = Discovery::new(Roots::default(), Vec::new())?;
    let mut index = LogDirs::new(Roots::default(), 10_000);
    for broker in cluster.brokers() {
        let id = broker.process().context("not up")?.id();
        let found = find(&mut discovery, id)?.context("not found")?;
        let role = if broker.id() == 1 { Role::Combined } else { Role::Broker };
        ensure!(found.role == role && found.jvm, "{found:?}");
        ensure!(found.node == Some(NodeId(broker.id().into())), "{found:?}");
        ensure!(found.name.starts_with(&format!("broker-{}", broker.id())), "{found:?}");
        ensure!(found.cluster.as_deref() == Some(cluster.id()), "{found:?}");
        let data = cluster.folder().join(broker.id().to_string()).join("data");
        ensure!(log_dirs(&found) == [data.as_path()], "{found:?}");
        for port in [broker.direct().port(), broker.upstream().port()] {
            ensure!(ports(&found).contains(&port), "{port}: {found:?}");
        }
        index.watch(&found);
        segments_are_known(&mut index, &data)?;
        collections_are_known(&found)?;
        let systems = FileSystems::new(Roots::default()).read([found.as_ref()], Instant::now());
        ensure!(systems.len() == 1 && systems.iter().all(|system| system.usage.used > 0), "{systems:?}");
    }
    let found = find(&mut discovery, proxy.process().id())?.context("not found")?;
    let fronts: Vec<u16> = cluster.brokers().iter().map(|broker| broker.front().port()).collect();
    ensure!(found.role == Role::Proxy && fronts.iter().all(|port| ports(&found).contains(port)), "{found:?}");
    ensure!(fronts.iter().any(|port| found.name == format!("proxy-{port}")), "{found:?}");

    // Only the second, so that deaths of other trials' brokers are not waited for.
    let id = cluster.brokers().get(1).and_then(|broker| broker.process()).context("not up")?.id();
    let before = find(&mut discovery, id)?.context("not found")?;
    let mut up = Up::new(Roots::default(), Vec::new(), LIMIT);
    up.observe([&before], Instant::now());
    cluster.kill(2)?;
    ensure!(up.wait(Duration::from_secs(2))?, "its death was not seen");
    ensure!(up.states().all(|state| !state.up), "{:?}", up.states().collect::<Vec<_>>());
    ensure!(find(&mut discovery, id)?.is_none(), "still there");
    cluster.restart(2)?;
    let broker = cluster.brokers().get(1).context("no broker")?;
    let (id, port) = (broker.process().context("not up")?.id(), broker.direct().port());
    let after = eventually("the broker to listen again", LIMIT, || {
        Ok(find(&mut discovery, id)?.filter(|process| ports(process).contains(&port)))
    })?;
    ensure!(after.name == before.name && after.started != before.started, "{before:?} {after:?}");
    up.observe([&after], Instant::now());
    let state = up.states().next().context("forgotten")?;
    ensure!(state.up && state.restarts == 1 && state.listening.contains(&(port, true)), "{state:?}");
    Ok(())
}

/// Every file of the topic, by the numbers that the file system gives it. The broker may make and rename some meanwhile.
fn segments_are_known(index: &mut LogDirs, data: &Path) -> Result<()> {
    eventually("all files to be known", LIMIT, || {
        index.maintain(Instant::now());
        for partition in 0..2_u32 {
            let mut segments = 0;
            for entry in fs::read_dir(data.join(format!("orders-{partition}")))? {
                let metadata = entry?.metadata()?;
                let inode = Inode { device: kernel_device(metadata.dev()), number: metadata.ino() };
                let file = index.file(inode).context("a file that is not known")?;
                ensure!((file.partition.topic.as_str(), file.partition.number) == ("orders", partition), "{file:?}");
                segments += u32::from(file.kind == FileKind::Log);
            }
            ensure!(segments == 1, "{segments}");
        }
        Ok(Some(()))
    })
}

fn collections_are_known(process: &Found) -> Result<()> {
    let mut jvm = Jvm::open(&Roots::default(), process)?;
    jvm.poll(Now::read())?;
    let collectors: Vec<_> = jvm.collectors().iter().map(|collector| collector.bean).collect();
    ensure!(collectors == [Some("Copy"), Some("MarkSweepCompact")], "{:?}", jvm.collectors());
    let old = jvm.memory().into_iter().find(|pool| pool.name == "Tenured Gen").context("no old generation")?;
    ensure!(old.committed > 0 && old.used <= old.committed, "{old:?}");
    Ok(())
}

fn zookeeper() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kafkascope-zookeeper-").tempdir()?;
    let path = folder.path();
    let (zookeeper_port, broker_port) = (Port::claim()?, Port::claim()?);
    let (data, log_dir) = (path.join("zookeeper"), path.join("log dir"));
    fs::create_dir_all(&data)?;
    fs::write(data.join("myid"), "3\n")?;
    let configuration = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
        data.display(),
        zookeeper_port.number()
    );
    fs::write(path.join("zoo.cfg"), configuration)?;
    let properties = format!(
        "broker.id=-1\nlog.dirs=/nowhere\nzookeeper.connect={}\nlisteners=PLAINTEXT://{}\n",
        zookeeper_port.address(),
        broker_port.address()
    );
    fs::write(path.join("server.properties"), properties)?;

    let java = |main: &str| -> Result<Command> {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).current_dir(path);
        command.args(["-cp", &java::class_path(Version::V39)?, main]);
        Ok(command)
    };
    let mut command = java("org.apache.zookeeper.server.quorum.QuorumPeerMain")?;
    command.arg(path.join("zoo.cfg"));
    let mut server = Process::start("ZooKeeper", &command, &path.join("zookeeper.log"))?;
    let mut command = java("kafka.Kafka")?;
    // Relative to where it runs, and with what the file says overridden.
    command.args(["server.properties", "--override", "broker.id=5", "--override"]);
    command.arg(format!("log.dirs={}", log_dir.display()));
    let mut broker = Process::start("a broker with ZooKeeper", &command, &path.join("broker.log"))?;

    let mut discovery = Discovery::new(Roots::default(), Vec::new())?;
    let id = server.id();
    let mut found = None;
    server.until("ZooKeeper to listen", LIMIT, || {
        found = find(&mut discovery, id)?.filter(|process| ports(process).contains(&zookeeper_port.number()));
        Ok(found.is_some())
    })?;
    let found = found.context("not found")?;
    ensure!(found.role == Role::ZooKeeper && found.node == Some(NodeId(3)), "{found:?}");
    ensure!(found.name.starts_with("zookeeper-3") && log_dirs(&found) == [data], "{found:?}");

    let id = broker.id();
    let mut found = None;
    broker.until("the broker to listen and its cluster to be known", LIMIT, || {
        let process = find(&mut discovery, id)?;
        found = process.filter(|process| ports(process).contains(&broker_port.number()) && process.cluster.is_some());
        Ok(found.is_some())
    })?;
    let found = found.context("not found")?;
    ensure!(found.role == Role::Broker && found.node == Some(NodeId(5)), "{found:?}");
    ensure!(found.name == "broker-5" && log_dirs(&found) == [log_dir.as_path()], "{found:?}");
    let meta = fs::read_to_string(log_dir.join("meta.properties"))?;
    let cluster = found.cluster.as_deref().unwrap_or_default();
    ensure!(meta.lines().any(|line| line == format!("cluster.id={cluster}")), "{cluster}: {meta}");
    broker.kill()?;
    server.kill()
}
