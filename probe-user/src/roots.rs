//! Where the kernel's file systems are, and reading foreign files without trusting them.
//!
//! A process of another container chooses what its files are: a path may lead out of the container, end in a pipe that
//! nobody writes to, or never end. So every file is opened beneath the root of the process it belongs to, has to be
//! a regular one, and is read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat, openat2};
use rustix::io::Errno;

/// The numbers that the kernel prints in one file of a process or of the host; none is near this long.
pub(crate) const FIGURES_LIMIT: u64 = 1 << 20;

/// Process id, as the namespace of the probe's /proc counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the host's /proc and /sys are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// Usually `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), sys: PathBuf::from("/sys") }
    }
}

impl Roots {
    /// The folder of a process in /proc.
    #[must_use]
    pub fn process(&self, pid: Pid) -> PathBuf {
        self.proc.join(pid.0.to_string())
    }

    /// Whether this /proc counts processes as our own system calls do: not so in a container with a process namespace
    /// of its own and the host's /proc mounted.
    pub(crate) fn is_own(&self) -> bool {
        let own = std::fs::read_link(self.proc.join("self"));
        own.is_ok_and(|own| own == Path::new(&std::process::id().to_string()))
    }

    /// A path that a process knows, as the probe reaches it. For display and for `statvfs`; files are opened by
    /// [`Roots::open_inside`], which follows links as the process would.
    #[must_use]
    pub fn inside(&self, pid: Pid, path: &Path) -> PathBuf {
        self.process(pid).join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Opens a file or folder by the path that the process knows; relative ones begin at its working directory.
    /// Links are followed as the process would, and cannot lead out of its root.
    pub fn open_inside(&self, pid: Pid, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let folder = self.process(pid);
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if path.is_relative() {
            // Below the working directory there is no telling where the root is: no links that lead upwards, then.
            let base = open(folder.join("cwd"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            return beneath(&base, path, flags, ResolveFlags::NO_MAGICLINKS);
        }
        let base = open(folder.join("root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        beneath(&base, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Reads a regular file by the path that the process knows.
    pub(crate) fn read_inside(&self, pid: Pid, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open_inside(pid, path, OFlags::RDONLY)?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        read_to_limit(File::from(file), limit)
    }

    /// Reads a file of /proc/PID.
    pub(crate) fn read_of(&self, pid: Pid, name: &str) -> io::Result<Vec<u8>> {
        read(&self.process(pid).join(name), FIGURES_LIMIT)
    }
}

/// Reads a file that the kernel makes, or a test in its place.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    read_to_limit(File::from(file), limit)
}

/// A decimal number, alone in its file.
pub(crate) fn number(path: &Path) -> Option<u64> {
    decimal(read(path, 64).ok()?.trim_ascii())
}

/// A decimal number and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Blanks separate the fields of most of what the kernel prints.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty())
}

pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn beneath(base: &OwnedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    match openat2(base, path, flags, Mode::empty(), resolve) {
        // A seccomp profile older than the call. What is opened is checked all the same.
        Err(Errno::NOSYS | Errno::PERM) => {
            let relative = path.strip_prefix("/").unwrap_or(path);
            Ok(openat(base, relative, flags, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

fn read_to_limit(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
