//! A server in process, mount and network namespaces of its own, and the root of a container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kafkascope_probe::discovery::log_dirs::{Inode, LogDirs, kernel_device};
use kafkascope_probe::discovery::{Discovery, NodeId, Role};
use kafkascope_probe::host::filesystem::FileSystems;
use kafkascope_probe::roots::Roots;
use libtest_mimic::Trial;

use crate::child::Talker;
use crate::{not_root, trial};

/// A script that passes for a broker: `java` with the main class, and a port and a log dir that only it has.
const BROKER: &str = r#"
set -e
mount -t tmpfs none "$1"
mkdir -p "$1/orders-3"
echo 'cluster.id=inside' > "$1/meta.properties"
echo 'node.id=77' >> "$1/meta.properties"
: > "$1/orders-3/00000000000000000000.log"
printf 'process.roles=broker\nlog.dirs=%s\n' "$1" > "$1/server.properties"
cd "$1"
exec -a java "$2" -cp 'echo ready; read line' kafka.Kafka server.properties
"#;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("namespaces::a_broker_in_namespaces_of_its_own_is_found_with_its_log_dirs", lack, contained)]
}

fn lack() -> Option<&'static str> {
    let unshare = Command::new("unshare").args(["--mount", "--pid", "--net", "--fork", "true"]).output();
    if !unshare.is_ok_and(|output| output.status.success()) {
        return Some("no namespaces can be made here");
    }
    not_root()
}

fn contained() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "bash", "-c", BROKER, "x"]);
    // To the shell, `-cp` means the commands to run; to `java`, a class path before the main class.
    let shell = path.join("shell");
    fs::copy("/bin/bash", &shell)?;
    command.arg(path.join("data")).arg(&shell);
    fs::create_dir(path.join("data"))?;
    let mut child = Talker::start(&mut command)?;
    ensure!(child.line()? == "ready");
    let mut discovery = Discovery::new(Roots::default(), Vec::new())?;
    discovery.scan(Instant::now())?;
    let found = discovery.processes().find(|process| process.cluster.as_deref() == Some("inside"));
    let found = found.context("not found")?;
    ensure!(found.namespaced_pid == 1 && found.pid.0 != 1, "{found:?}");
    ensure!((found.node, &found.role) == (Some(NodeId(77)), &Role::Broker), "{found:?}");
    ensure!(found.name == "broker-77" && found.listeners.is_empty(), "{found:?}");
    ensure!(found.network_namespace.is_some(), "{found:?}");
    let log_dir = found.log_dirs.first().context("no log dir")?;
    ensure!(log_dir.inside == path.join("data"), "{log_dir:?}");
    ensure!(!path.join("data/meta.properties").exists(), "it is only inside");

    let segment = fs::metadata(log_dir.reachable.join("orders-3/00000000000000000000.log"))?;
    let mut index = LogDirs::new(Roots::default(), 100);
    index.watch(found);
    index.maintain(Instant::now());
    let inode = Inode { device: kernel_device(segment.dev()), number: segment.ino() };
    let file = index.file(inode).context("not in the index")?;
    ensure!((file.partition.topic.as_str(), file.partition.number) == ("orders", 3), "{file:?}");

    let systems = FileSystems::new(Roots::default()).read([found.as_ref()], Instant::now());
    let system = systems.first().context("no file system")?;
    ensure!(system.kind == "tmpfs" && system.mount_point == Path::new(&log_dir.inside), "{system:?}");
    child.kill()
}
