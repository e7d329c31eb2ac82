//! Which broker or ZooKeeper server a JVM is: node id, cluster id and log dirs.
//!
//! They are in the configuration that the command line names and in the `meta.properties` of each log dir. A broker
//! whose configuration cannot be read still holds the `.lock` file of each log dir open, and its segments.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::command_line::text;
use super::properties::Properties;
use super::sockets;
use super::{NodeId, Role};
use crate::roots::{Pid, Roots};

/// Kafka's own sample is 7 KiB.
const CONFIGURATION_LIMIT: u64 = 1 << 20;

/// Both files hold a few short lines.
const META_LIMIT: u64 = 64 << 10;

/// More log dirs than this a broker does not have; a process that shows more is made up.
const LOG_DIRS_LIMIT: usize = 256;

/// `log.dir` where nothing is said (Kafka's `ServerLogConfigs.LOG_DIR_DEFAULT`).
const DEFAULT_LOG_DIR: &str = "/tmp/kafka-logs";

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) role: Role,
    pub(crate) node: Option<NodeId>,
    pub(crate) cluster: Option<String>,
    /// As the process names them.
    pub(crate) log_dirs: Vec<PathBuf>,
}

/// A JVM that runs `kafka.Kafka`, by what that got as arguments.
pub(crate) fn kafka(roots: &Roots, pid: Pid, arguments: &[Vec<u8>]) -> Identity {
    let configured = configuration(roots, pid, arguments);
    let mut log_dirs = configured.as_ref().map(configured_log_dirs).unwrap_or_default();
    let mut meta = meta_properties(roots, pid, &log_dirs);
    if meta.is_none() {
        let open = open_log_dirs(roots, pid);
        if !open.is_empty() {
            log_dirs = open;
            meta = meta_properties(roots, pid, &log_dirs);
        }
    }
    let configured = configured.unwrap_or_default();
    let meta = meta.unwrap_or_default();
    let roles = configured.list("process.roles");
    let role = match (roles.contains(&"broker"), roles.contains(&"controller")) {
        (true, true) => Role::Combined,
        (false, true) => Role::Controller,
        _ => Role::Broker,
    };
    Identity {
        role,
        node: node(&meta, &["node.id", "broker.id"]).or_else(|| node(&configured, &["node.id", "broker.id"])),
        cluster: meta.value("cluster.id").map(str::to_owned),
        log_dirs,
    }
}

/// A JVM that runs ZooKeeper's `QuorumPeerMain`.
pub(crate) fn zookeeper(roots: &Roots, pid: Pid, arguments: &[Vec<u8>]) -> Identity {
    let argument = |position: usize| arguments.get(position).map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let mut log_dirs = Vec::new();
    if arguments.len() >= 2 {
        // `port dataDir [tickTime] [maxClientCnxns]`
        log_dirs.extend(argument(1));
    } else if let Some(file) = argument(0).and_then(|path| roots.read_inside(pid, &path, CONFIGURATION_LIMIT).ok()) {
        let configured = Properties::parse(&file);
        log_dirs.extend(["dataDir", "dataLogDir"].iter().filter_map(|key| configured.value(key)).map(PathBuf::from));
        log_dirs.dedup();
    }
    let file = log_dirs.first().and_then(|folder| roots.read_inside(pid, &folder.join("myid"), META_LIMIT).ok());
    let node = file.and_then(|file| text(&file).trim().parse().ok()).map(NodeId);
    Identity { role: Role::ZooKeeper, node, cluster: None, log_dirs }
}

fn node(properties: &Properties, keys: &[&str]) -> Option<NodeId> {
    let id = keys.iter().find_map(|key| properties.value(key))?.parse().ok()?;
    // -1 lets ZooKeeper choose one.
    (id >= 0).then_some(NodeId(id))
}

/// `server.properties [--override key=value]*`; nothing if it cannot be read.
fn configuration(roots: &Roots, pid: Pid, arguments: &[Vec<u8>]) -> Option<Properties> {
    let path = arguments.first().filter(|path| !path.starts_with(b"--"))?;
    let file = roots.read_inside(pid, Path::new(OsStr::from_bytes(path)), CONFIGURATION_LIMIT).ok()?;
    let mut properties = Properties::parse(&file);
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let argument = text(argument);
        if let Some(entry) = argument.strip_prefix("--override=") {
            properties.entry(entry);
        } else if argument == "--override" {
            properties.entry(&text(rest.next()?));
        }
    }
    Some(properties)
}

fn configured_log_dirs(properties: &Properties) -> Vec<PathBuf> {
    let mut log_dirs = properties.list("log.dirs");
    if log_dirs.is_empty() {
        log_dirs = properties.list("log.dir");
    }
    if log_dirs.is_empty() {
        log_dirs.push(DEFAULT_LOG_DIR);
    }
    // The metadata log is one too, and may have a disk of its own.
    log_dirs.extend(properties.value("metadata.log.dir"));
    // `${env:X}` is for the broker's configuration providers to know.
    log_dirs.retain(|path| !path.contains("${"));
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in log_dirs.into_iter().take(LOG_DIRS_LIMIT).map(PathBuf::from) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// The first that is there: in all log dirs of a broker they say the same.
fn meta_properties(roots: &Roots, pid: Pid, log_dirs: &[PathBuf]) -> Option<Properties> {
    let mut files =
        log_dirs.iter().filter_map(|path| roots.read_inside(pid, &path.join("meta.properties"), META_LIMIT).ok());
    files.next().map(|file| Properties::parse(&file))
}

fn open_log_dirs(roots: &Roots, pid: Pid) -> Vec<PathBuf> {
    let mut locked = BTreeSet::new();
    let mut written = BTreeSet::new();
    for path in sockets::open_files(roots, pid) {
        let Some(folder) = path.parent() else { continue };
        if path.file_name() == Some(OsStr::new(".lock")) {
            locked.insert(folder.to_owned());
        } else if path.extension() == Some(OsStr::new("log"))
            && folder.file_name().is_some_and(|name| super::log_dirs::Partition::parse(name.as_bytes()).is_some())
        {
            written.extend(folder.parent().map(Path::to_owned));
        }
    }
    let found = if locked.is_empty() { written } else { locked };
    found.into_iter().take(LOG_DIRS_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A process 7 in a /proc of our own, with a file system of its own.
    struct Fake {
        folder: tempfile::TempDir,
    }

    impl Fake {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["7/root/etc", "7/root/data/a", "7/fd", "7/cwd"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            Self { folder }
        }

        fn roots(&self) -> Roots {
            Roots { proc: self.folder.path().to_owned(), ..Roots::default() }
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.folder.path().join("7").join(path), content).unwrap();
        }

        fn open(&self, descriptor: u32, path: &str) {
            symlink(path, self.folder.path().join("7/fd").join(descriptor.to_string())).unwrap();
        }

        fn kafka(&self, arguments: &[&str]) -> Identity {
            let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
            kafka(&self.roots(), Pid(7), &arguments)
        }
    }

    #[test]
    fn configuration_is_that_of_the_file_with_overrides_and_the_cluster_that_of_the_log_dir() {
        let fake = Fake::new();
        fake.write("root/etc/server.properties", "process.roles=broker,controller\nnode.id=3\nlog.dirs=/x\n");
        fake.write("root/data/a/meta.properties", "version=1\ncluster.id=abc\nnode.id=3\n");
        let identity = fake.kafka(&["/etc/server.properties", "--override", "log.dirs=/data/a,/data/b"]);
        let log_dirs = ["/data/a", "/data/b"].map(PathBuf::from).to_vec();
        let expected =
            Identity { role: Role::Combined, node: Some(NodeId(3)), cluster: Some("abc".to_owned()), log_dirs };
        assert_eq!(identity, expected);
    }

    #[test]
    fn relative_paths_begin_at_the_working_directory_and_links_stay_inside_the_root() {
        let fake = Fake::new();
        fake.write("cwd/server.properties", "broker.id=-1\nlog.dir=/link\n");
        fake.write("root/data/a/meta.properties", "version=0\nbroker.id=1001\ncluster.id=xyz\n");
        symlink("/data/a", fake.folder.path().join("7/root/link")).unwrap();
        symlink("/../../../../etc/hostname", fake.folder.path().join("7/root/etc/out")).unwrap();
        let identity = fake.kafka(&["server.properties"]);
        assert_eq!((identity.node, identity.cluster.as_deref()), (Some(NodeId(1001)), Some("xyz")));
        assert_eq!(identity.role, Role::Broker);
        assert!(fake.roots().read_inside(Pid(7), Path::new("/etc/out"), 100).is_err());
        assert!(fake.roots().read_inside(Pid(7), Path::new("/data"), 100).is_err(), "a folder is no file");
    }

    #[test]
    fn open_files_tell_the_log_dirs_when_the_configuration_cannot_be_read() {
        let fake = Fake::new();
        fake.write("root/data/a/meta.properties", "node.id=5\ncluster.id=abc\n");
        fake.open(4, "/data/a/topic-0/00000000000000000000.log");
        fake.open(5, "/var/log/a-1.log");
        assert_eq!(fake.kafka(&["/no/such"]).log_dirs, [PathBuf::from("/data/a")]);
        fake.open(6, "/data/a/.lock");
        fake.open(7, "/data/b/.lock");
        let identity = fake.kafka(&[]);
        assert_eq!(identity.log_dirs, ["/data/a", "/data/b"].map(PathBuf::from));
        assert_eq!(identity.node, Some(NodeId(5)));
    }

    #[test]
    fn a_zookeeper_server_is_known_by_its_myid() {
        let fake = Fake::new();
        fake.write("root/etc/zoo.cfg", "dataDir=/data/a\nclientPort=2181\nserver.1=x\n");
        fake.write("root/data/a/myid", "2\n");
        let identity = zookeeper(&fake.roots(), Pid(7), &[b"/etc/zoo.cfg".to_vec()]);
        assert_eq!((identity.node, identity.role), (Some(NodeId(2)), Role::ZooKeeper));
        assert_eq!(identity.log_dirs, [PathBuf::from("/data/a")]);
    }

    #[test]
    fn a_pipe_in_place_of_the_configuration_does_not_hold_us_up() {
        let fake = Fake::new();
        let path = fake.folder.path().join("7/root/etc/server.properties");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(fake.kafka(&["/etc/server.properties"]).node, None);
    }
}
