//! The file systems on which log dirs are: how full, on which device, and when they will be full.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fstat, fstatvfs, major, minor};

use super::trend::Trend;
use crate::discovery::Process;
use crate::discovery::log_dirs::kernel_device;
use crate::roots::{self, Pid, Roots};

/// How full a file system is, in bytes and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// In use.
    pub used: u64,
    /// What anybody but root can still take.
    pub free: u64,
    /// What is free for root alone.
    pub reserved: u64,
    /// Inodes in use.
    pub inodes_used: u64,
    /// Inodes that are free. Zero of both on file systems that make them as needed.
    pub inodes_free: u64,
}

/// A file system that holds log dirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// As the kernel has it inside: `major << 20 | minor`.
    pub device: u32,
    /// `253:1`, by which /proc/diskstats and /sys/dev/block know it.
    pub device_number: String,
    /// `/dev/vda1`, or whatever is mounted.
    pub source: String,
    /// `ext4`, `xfs`.
    pub kind: String,
    /// Where it is mounted, as the first process found on it sees it.
    pub mount_point: PathBuf,
    /// Log dirs on it, by process.
    pub log_dirs: Vec<(Pid, PathBuf)>,
    /// How full it is.
    pub usage: Usage,
    /// Until nothing is left for anybody but root, if it goes on as in the last hour; nothing if it does not grow.
    pub time_to_full: Option<Duration>,
}

/// All of them, with what is remembered of how they filled up.
#[derive(Debug)]
pub struct FileSystems {
    roots: Roots,
    trends: BTreeMap<u32, Trend>,
}

impl FileSystems {
    /// None yet.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, trends: BTreeMap::new() }
    }

    /// Looks at those on which the log dirs of `processes` are; one that cannot be looked at is left out.
    pub fn read<'a>(&mut self, processes: impl IntoIterator<Item = &'a Process>, now: Instant) -> Vec<FileSystem> {
        let mut found: BTreeMap<u32, FileSystem> = BTreeMap::new();
        for process in processes {
            for log_dir in &process.log_dirs {
                self.add(process.pid, &log_dir.inside, &mut found);
            }
        }
        self.trends.retain(|device, _| found.contains_key(device));
        for (device, file_system) in &mut found {
            let trend = self.trends.entry(*device).or_default();
            trend.record(now, file_system.usage.used);
            file_system.time_to_full =
                trend.time_to_reach(file_system.usage.used.saturating_add(file_system.usage.free));
        }
        found.into_values().collect()
    }

    fn add(&self, pid: Pid, path: &Path, found: &mut BTreeMap<u32, FileSystem>) {
        let Ok((device, usage)) = self.look(pid, path) else { return };
        let file_system = found.entry(kernel_device(device)).or_insert_with(|| {
            let number = format!("{}:{}", major(device), minor(device));
            let mounts = self.roots.read_of(pid, "mountinfo").unwrap_or_default();
            let mount = Mount::find(&mounts, &number, path).unwrap_or_default();
            FileSystem {
                device: kernel_device(device),
                device_number: number,
                source: mount.source,
                kind: mount.kind,
                mount_point: mount.point,
                log_dirs: Vec::new(),
                usage,
                time_to_full: None,
            }
        });
        file_system.log_dirs.push((pid, path.to_owned()));
    }

    fn look(&self, pid: Pid, path: &Path) -> io::Result<(u64, Usage)> {
        let folder = self.roots.open_inside(pid, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stat = fstatvfs(&folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        let usage = Usage {
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            free: bytes(stat.f_bavail),
            reserved: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
            inodes_free: stat.f_ffree,
        };
        Ok((fstat(&folder)?.st_dev, usage))
    }
}

/// A line of /proc/PID/mountinfo.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
    source: String,
}

impl Mount {
    /// The innermost mount point of the device that is above `path`; any of the device if none is.
    fn find(mounts: &[u8], device: &str, path: &Path) -> Option<Self> {
        let of_device = || roots::lines(mounts).filter_map(|line| Self::parse(line, device));
        let above = of_device().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count()).or_else(|| of_device().next())
    }

    /// `id parent major:minor root point options [fields..] - kind source options`
    fn parse(line: &[u8], device: &str) -> Option<Self> {
        let mut fields = roots::fields(line).skip(2);
        if fields.next()? != device.as_bytes() {
            return None;
        }
        let point = unescape(fields.nth(1)?);
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = String::from_utf8_lossy(rest.next()?).into_owned();
        let source = String::from_utf8_lossy(&unescape(rest.next()?)).into_owned();
        Some(Self { point: PathBuf::from(std::ffi::OsStr::from_bytes(&point)), kind, source })
    }
}

/// Blanks and backslashes in names are `\040` and so on.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut unescaped = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                unescaped.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                unescaped.push(*byte);
                rest = after;
            }
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usage_is_what_df_tells() {
        let systems = FileSystems::new(Roots::default());
        let own = Pid(std::process::id());
        let output = Command::new("df").args(["-B1", "--output=used,avail,iused,iavail", "/tmp"]).output();
        let Ok(output) = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else { return };
        let numbers: Vec<u64> = output.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let (_, usage) = systems.look(own, Path::new("/tmp")).unwrap();
        let near = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= theirs / 100 + (1 << 20);
        assert!(near(usage.used, numbers[0]) && near(usage.free, numbers[1]), "{usage:?} {output}");
        assert!(near(usage.inodes_used, numbers[2]) && near(usage.inodes_free, numbers[3]), "{usage:?} {output}");
    }

    #[test]
    fn the_innermost_mount_above_a_path_is_found() {
        let mounts = b"20 1 253:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
                       21 20 253:1 / /da\\040ta rw - xfs /dev/vdb rw\n\
                       22 20 253:1 /x /data rw - xfs /dev/vdb rw\n23 20 253:1 / bad\n";
        let find = |device, path| Mount::find(mounts, device, Path::new(path)).unwrap();
        assert_eq!(find("253:1", "/da ta/kafka").point, Path::new("/da ta"));
        assert_eq!(find("253:1", "/data/kafka").point, Path::new("/data"));
        assert_eq!((find("253:0", "/data").source, find("253:1", "/y").kind), ("/dev/vda".into(), "xfs".into()));
        assert_eq!(Mount::find(mounts, "9:9", Path::new("/")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(text: Vec<u8>) {
            Mount::find(&[b"1 1 8:1 ", text.as_slice()].concat(), "8:1", Path::new("/"));
            unescape(&text);
        }
    }
}
