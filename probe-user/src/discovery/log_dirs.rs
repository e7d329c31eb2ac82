//! Which topic-partition a file belongs to: an index of the inodes in the log dirs of all brokers of the host.
//!
//! The kernel tells of files by device and inode number. A folder's listing has the inode numbers, so no file is
//! looked at on its own; and a folder whose modification time is the same is not listed again. A look-up that finds
//! nothing asks for a rescan, which is done at most once a second, and more seldom if it takes long. Left out: file
//! systems that give a file other numbers than the kernel uses for it inside (subvolumes of btrfs, overlays of
//! container images; a broker's log dir is on neither where performance matters).

mod partition;

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, statat};
use rustix::io::Errno;

pub use self::partition::{FileKind, Partition, State};
use super::Process;
use crate::roots::{Pid, Roots};

/// So often at most are the log dirs rescanned.
const INTERVAL: Duration = Duration::from_secs(1);

/// And so often at least, to forget files that are gone.
const REFRESH: Duration = Duration::from_secs(60);

/// A rescan is followed by this many times its own duration without one: 1 % of a processor at most.
const REST: u32 = 100;

/// Files of a broker that are in no log dir, its own log among them, remembered so as not to look for them again.
const FOREIGN_LIMIT: usize = 4096;

/// A folder changed this recently may change again within the same tick of the file system's clock.
const SETTLED: Duration = Duration::from_secs(2);

/// Device and inode number of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    /// As the kernel has it inside (`s_dev`): `major << 20 | minor`. See [`kernel_device`].
    pub device: u32,
    /// Inode number.
    pub number: u64,
}

/// What a file of a log dir is.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// Where it belongs.
    pub partition: Arc<Partition>,
    /// What it holds.
    pub kind: FileKind,
}

/// The index.
#[derive(Debug)]
pub struct LogDirs {
    roots: Roots,
    limit: usize,
    trees: Vec<Tree>,
    files: HashMap<Inode, LogFile>,
    foreign: HashSet<Inode>,
    overflow: u64,
    wanted: bool,
    scanned: Option<Instant>,
    rest: Duration,
    generation: u64,
}

/// A log dir of a broker.
#[derive(Debug)]
struct Tree {
    owner: Pid,
    path: PathBuf,
    folders: HashMap<Box<[u8]>, Folder>,
}

/// The folder of a partition.
#[derive(Debug)]
struct Folder {
    partition: Arc<Partition>,
    device: u32,
    /// When it was modified, if it has not been since it was listed.
    modified: Option<Duration>,
    inodes: Vec<u64>,
    generation: u64,
}

/// Turns the device number that `stat` gives into that which the kernel has inside.
#[must_use]
pub fn kernel_device(device: u64) -> u32 {
    major(device) << 20 | minor(device)
}

impl LogDirs {
    /// An empty index, of at most `limit` files.
    #[must_use]
    pub fn new(roots: Roots, limit: usize) -> Self {
        Self {
            roots,
            limit,
            trees: Vec::new(),
            files: HashMap::new(),
            foreign: HashSet::new(),
            overflow: 0,
            wanted: false,
            scanned: None,
            rest: INTERVAL,
            generation: 0,
        }
    }

    /// Takes up the log dirs of a process, and drops those that it has no longer.
    pub fn watch(&mut self, process: &Process) {
        self.watch_paths(process.pid, process.log_dirs.iter().map(|log_dir| log_dir.inside.clone()).collect());
    }

    /// The same for any folders, by the paths that the process knows.
    pub fn watch_paths(&mut self, owner: Pid, paths: Vec<PathBuf>) {
        let (kept, dropped) =
            self.trees.drain(..).partition(|tree: &Tree| tree.owner != owner || paths.contains(&tree.path));
        self.trees = kept;
        for tree in dropped {
            self.forget_folders(tree.folders.into_values());
        }
        for path in paths {
            if !self.trees.iter().any(|tree| tree.owner == owner && tree.path == path) {
                self.trees.push(Tree { owner, path, folders: HashMap::new() });
                // At once: nothing of it is known.
                self.scanned = None;
            }
        }
    }

    /// Drops the log dirs of a process that is gone.
    pub fn forget(&mut self, owner: Pid) {
        self.watch_paths(owner, Vec::new());
    }

    /// What this file is. Not found: the next [`LogDirs::maintain`] will look for it.
    pub fn file(&mut self, inode: Inode) -> Option<&LogFile> {
        let file = self.files.get(&inode);
        if file.is_none() && !self.foreign.contains(&inode) {
            self.wanted = true;
            if self.foreign.len() < FOREIGN_LIMIT {
                // Until the refresh, unless the rescan finds it.
                self.foreign.insert(inode);
            }
        }
        file
    }

    /// How many files are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Files left out at the last scan because there are too many.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Rescans if a file was not found, or after a while. Returns whether it did.
    pub fn maintain(&mut self, now: Instant) -> bool {
        let age = self.scanned.map(|scanned| now.saturating_duration_since(scanned));
        let due = age.is_none_or(|age| age >= REFRESH.max(self.rest) || (self.wanted && age >= self.rest));
        if due {
            self.rescan(now);
        }
        due
    }

    fn rescan(&mut self, now: Instant) {
        let started = Instant::now();
        if self.generation.is_multiple_of(16) || self.foreign.len() >= FOREIGN_LIMIT {
            self.foreign.clear();
        }
        self.generation += 1;
        self.overflow = 0;
        let mut trees = std::mem::take(&mut self.trees);
        for tree in &mut trees {
            self.scan(tree);
        }
        self.trees = trees;
        self.wanted = false;
        self.scanned = Some(now);
        self.rest = INTERVAL.max(started.elapsed() * REST);
    }

    fn scan(&mut self, tree: &mut Tree) {
        // Unreadable now, unmounted, or the process is ending: what was known of it stays until it is forgotten.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(root) = self.roots.open_inside(tree.owner, &tree.path, flags) else { return };
        let Ok(listing) = Dir::read_from(&root) else { return };
        for entry in listing.flatten() {
            let name = entry.file_name().to_bytes();
            if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                continue;
            }
            let folder = tree.folders.get_mut(name);
            if folder.is_none() && Partition::parse(name).is_none() {
                continue;
            }
            let Ok(stat) = statat(&root, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if let Some(folder) = folder {
                folder.generation = self.generation;
                if folder.modified == Some(modified(&stat)) {
                    continue;
                }
            }
            self.list(tree, &root, name);
        }
        let generation = self.generation;
        let gone: Vec<Folder> =
            tree.folders.extract_if(|_, folder| folder.generation != generation).map(|(_, folder)| folder).collect();
        self.forget_folders(gone.into_iter());
    }

    /// Lists the folder of a partition anew.
    fn list(&mut self, tree: &mut Tree, root: &OwnedFd, name: &[u8]) {
        let Ok((fd, stat)) = open_folder(root, name) else { return };
        let before = tree.folders.remove(name);
        let partition = match &before {
            Some(folder) => Arc::clone(&folder.partition),
            None => match Partition::parse(name) {
                Some(partition) => Arc::new(partition),
                None => return,
            },
        };
        self.forget_folders(before.into_iter());
        let device = kernel_device(stat.st_dev);
        let mut inodes = Vec::new();
        let mut complete = true;
        if let Ok(listing) = Dir::new(fd) {
            for entry in listing.flatten() {
                if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                    continue;
                }
                let inode = Inode { device, number: entry.ino() };
                if self.files.len() >= self.limit && !self.files.contains_key(&inode) {
                    self.overflow += 1;
                    // Listed again next time, when there may be room.
                    complete = false;
                    continue;
                }
                let kind = FileKind::of(entry.file_name().to_bytes());
                self.files.insert(inode, LogFile { partition: Arc::clone(&partition), kind });
                self.foreign.remove(&inode);
                inodes.push(inode.number);
            }
        }
        inodes.shrink_to_fit();
        let modified = Some(modified(&stat)).filter(|modified| complete && is_settled(*modified));
        let folder = Folder { partition, device, modified, inodes, generation: self.generation };
        tree.folders.insert(name.into(), folder);
    }

    fn forget_folders(&mut self, folders: impl Iterator<Item = Folder>) {
        for folder in folders {
            for number in folder.inodes {
                let inode = Inode { device: folder.device, number };
                // The number may be another file's by now.
                if self.files.get(&inode).is_some_and(|file| Arc::ptr_eq(&file.partition, &folder.partition)) {
                    self.files.remove(&inode);
                }
            }
        }
    }
}

fn open_folder(root: impl AsFd, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(root, name, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, stat))
}

fn modified(stat: &Stat) -> Duration {
    Duration::new(
        u64::try_from(stat.st_mtime).unwrap_or_default(),
        u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    )
}

fn is_settled(modified: Duration) -> bool {
    SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.saturating_sub(modified) > SETTLED)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;

    use super::*;

    /// Process 1 of a /proc of our own has this folder for its root.
    fn host(limit: usize) -> (tempfile::TempDir, LogDirs) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("1/root/data")).unwrap();
        let mut index = LogDirs::new(Roots { proc: folder.path().to_owned(), ..Roots::default() }, limit);
        index.watch_paths(Pid(1), vec![PathBuf::from("/data")]);
        (folder, index)
    }

    fn inode(path: &Path) -> Inode {
        let metadata = fs::metadata(path).unwrap();
        Inode { device: kernel_device(metadata.dev()), number: metadata.ino() }
    }

    fn write(path: &Path) -> Inode {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        inode(path)
    }

    #[test]
    fn files_are_known_by_inode_as_they_come_go_and_move() {
        let (folder, mut index) = host(100);
        let data = folder.path().join("1/root/data");
        let first = write(&data.join("a-b-3/00000000000000000000.log"));
        let start = Instant::now();
        assert!(index.maintain(start));
        let file = index.file(first).unwrap();
        assert_eq!((file.partition.topic.as_str(), file.partition.number, file.kind), ("a-b", 3, FileKind::Log));

        let second = write(&data.join("a-b-3/00000000000000000000.timeindex"));
        assert!(index.file(second).is_none());
        assert!(!index.maintain(start + INTERVAL / 2), "not so soon");
        assert!(index.maintain(start + Duration::from_secs(20)));
        assert_eq!(index.file(second).unwrap().kind, FileKind::TimeIndex);
        assert!(!index.maintain(start + Duration::from_secs(30)), "nobody asked");

        fs::rename(data.join("a-b-3"), data.join("a-b-3.0123456789abcdef0123456789abcdef-delete")).unwrap();
        index.maintain(start + Duration::from_secs(300));
        assert_eq!(index.file(first).unwrap().partition.state, State::Deleted);
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir_all(&data).unwrap();
        index.maintain(start + Duration::from_secs(600));
        assert!(index.is_empty());
    }

    #[test]
    fn a_file_of_no_log_dir_is_looked_for_once() {
        let (folder, mut index) = host(100);
        let other = write(&folder.path().join("server.log"));
        let start = Instant::now();
        index.maintain(start);
        assert!(index.file(other).is_none());
        assert!(index.maintain(start + Duration::from_secs(10)));
        assert!(index.file(other).is_none());
        assert!(!index.maintain(start + Duration::from_secs(20)));
    }

    #[test]
    fn names_that_are_not_text_and_links_are_passed_over() {
        let (folder, mut index) = host(100);
        let data = folder.path().join("1/root/data");
        let strange = write(&data.join(OsStr::from_bytes(b"\xff\xfe-0/00000000000000000000.log")));
        let inside = write(&data.join("t-0").join(OsStr::from_bytes(b"\xff.log")));
        let secret = write(&folder.path().join("elsewhere/x.log"));
        symlink(folder.path().join("elsewhere"), data.join("t-1")).unwrap();
        index.maintain(Instant::now());
        assert!(index.file(strange).is_none());
        assert!(index.file(secret).is_none());
        assert_eq!(index.file(inside).unwrap().kind, FileKind::Log);
    }

    #[test]
    fn more_files_than_the_limit_are_counted_and_left_out() {
        let (folder, mut index) = host(10);
        let data = folder.path().join("1/root/data");
        for number in 0..16 {
            write(&data.join(format!("t-{}/{number:020}.log", number % 4)));
        }
        index.maintain(Instant::now());
        assert_eq!((index.len(), index.overflow()), (10, 6));
        fs::remove_dir_all(data.join("t-0")).unwrap();
        fs::remove_dir_all(data.join("t-1")).unwrap();
        index.maintain(Instant::now() + Duration::from_secs(100));
        index.maintain(Instant::now() + Duration::from_secs(200));
        assert_eq!((index.len(), index.overflow()), (8, 0));
    }

    #[test]
    fn a_new_log_dir_is_scanned_at_once() {
        let (folder, mut index) = host(10);
        let start = Instant::now();
        assert!(index.maintain(start));
        let file = write(&folder.path().join("2/root/data/t-0/00000000000000000000.log"));
        index.watch_paths(Pid(2), vec![PathBuf::from("/data")]);
        assert!(index.maintain(start));
        assert!(index.file(file).is_some());
        assert!(!index.maintain(start));
    }

    #[test]
    fn log_dirs_of_a_process_that_is_gone_are_forgotten() {
        let (folder, mut index) = host(10);
        let file = write(&folder.path().join("1/root/data/t-0/00000000000000000000.log"));
        index.maintain(Instant::now());
        assert!(index.file(file).is_some());
        index.forget(Pid(1));
        assert!(index.file(file).is_none());
        assert!(index.is_empty());
    }

    #[test]
    fn a_hundred_thousand_segments_are_indexed_within_seconds_and_little_memory() {
        let (folder, mut index) = host(1 << 18);
        let data = folder.path().join("1/root/data");
        for partition in 0..2000 {
            let folder = data.join(format!("topic-{}-{partition}", partition % 50));
            fs::create_dir_all(&folder).unwrap();
            for segment in 0..50 {
                fs::File::create(folder.join(format!("{segment:020}.log"))).unwrap();
            }
        }
        let before = resident();
        let first = Instant::now();
        index.maintain(first);
        let first = first.elapsed();
        assert_eq!(index.len(), 100_000);
        let memory = resident().saturating_sub(before);
        // Long ago, so that folders count as settled.
        let past = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        };
        for entry in fs::read_dir(&data).unwrap() {
            rustix::fs::utimensat(rustix::fs::CWD, entry.unwrap().path(), &past, AtFlags::empty()).unwrap();
        }
        index.rescan(Instant::now());
        let again = Instant::now();
        index.rescan(Instant::now());
        let again = again.elapsed();
        println!("first scan {first:?}, again {again:?}, {memory} bytes resident");
        assert_eq!(index.len(), 100_000);
        assert!(first < Duration::from_secs(20), "{first:?}");
        assert!(again < first, "folders that did not change are not listed: {again:?} after {first:?}");
        assert!(memory < 24 << 20, "{memory} bytes");
    }

    fn resident() -> u64 {
        let text = fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
    }
}
