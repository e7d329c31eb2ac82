//! What all trials need: privileges, tracefs, a disk, the programs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::{ptr, slice};

use anyhow::{Context, Result, ensure};
use kafkascope_probe::kernel::{Kernel, Limits, PROGRAMS, State, Wanted};
use libtest_mimic::{Completion, Failed, Trial};

/// The name of a trial and what it does.
pub(crate) type Plain = (&'static str, fn() -> Result<()>);

pub(crate) const PAGE: u64 = 4096;

/// A trial that runs only where nothing is lacking.
pub(crate) fn trial(name: &str, lack: Option<String>, run: fn() -> Result<()>) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = lack {
            return Ok(Completion::ignored_with(reason));
        }
        run().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Sees to what can be had; says what cannot. To be called while there is one thread only.
pub(crate) fn prepare() -> Option<String> {
    if let Err(reason) = PROGRAMS {
        return Some(format!("built without kernel programs: {reason}"));
    }
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    // SAFETY: all pointers are to strings that end with a zero, or null where that is allowed.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), libc::MS_REC | libc::MS_PRIVATE, ptr::null()) == 0
            && (Path::new("/sys/kernel/tracing/events").exists()
                || libc::mount(
                    c"tracefs".as_ptr(),
                    c"/sys/kernel/tracing".as_ptr(),
                    c"tracefs".as_ptr(),
                    0,
                    ptr::null(),
                ) == 0)
    };
    (!mounted).then(|| format!("no tracefs: {}", io::Error::last_os_error()))
}

/// The programs, with this process watched; a sampler that does not work fails the trial that needs it.
pub(crate) fn kernel(needed: &[&str]) -> Result<Kernel> {
    let mut kernel = Kernel::load(Limits::default(), Wanted::ALL);
    for sampler in kernel.samplers() {
        let is_needed = needed.contains(&sampler.name);
        ensure!(!is_needed || matches!(sampler.state, State::On { .. }), "{}: {}", sampler.name, sampler.state);
    }
    kernel.watch(std::process::id())?;
    Ok(kernel)
}

/// A file of this many pages on the disk that the project is built on, removed in the end.
pub(crate) struct DiskFile {
    path: PathBuf,
    pub(crate) file: File,
    pages: u64,
}

impl DiskFile {
    pub(crate) fn new(name: &str, pages: u64) -> Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        let block: Vec<u8> = (0..PAGE).map(|byte| byte as u8).collect();
        for _ in 0..pages {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        Ok(Self { path, file, pages })
    }

    /// Drops it from the page cache, as far as that is possible.
    pub(crate) fn drop_cached(&self) -> Result<()> {
        self.file.sync_all()?;
        // SAFETY: the descriptor is open.
        let code = unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        ensure!(code == 0, "fadvise: {code}");
        Ok(())
    }

    /// How many of its pages are in the page cache.
    pub(crate) fn cached(&self) -> Result<u64> {
        let bytes = (self.pages * PAGE) as usize;
        let mut state = vec![0_u8; self.pages as usize];
        // SAFETY: a fresh mapping that nothing is read from, unmapped again.
        unsafe {
            let map = libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, self.file.as_raw_fd(), 0);
            ensure!(map != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
            let code = libc::mincore(map, bytes, state.as_mut_ptr());
            libc::munmap(map, bytes);
            ensure!(code == 0, "mincore: {}", io::Error::last_os_error());
        }
        Ok(state.iter().filter(|&&page| page & 1 == 1).count() as u64)
    }

    /// Touches one byte of each page by a mapping, without readahead.
    pub(crate) fn touch(&self) -> Result<u64> {
        let bytes = (self.pages * PAGE) as usize;
        // SAFETY: the file is that long, nobody truncates it, and the mapping is used before it is removed.
        unsafe {
            let map = libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, self.file.as_raw_fd(), 0);
            ensure!(map != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
            libc::madvise(map, bytes, libc::MADV_RANDOM);
            let content = slice::from_raw_parts(map.cast::<u8>(), bytes);
            let sum = content.iter().step_by(PAGE as usize).map(|&byte| u64::from(byte)).sum();
            libc::munmap(map, bytes);
            Ok(sum)
        }
    }

    pub(crate) fn ino(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.file.metadata()?.ino())
    }

    pub(crate) fn dev(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.file.metadata()?.dev())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// The line of a device in /proc/diskstats: its numbers after the name.
pub(crate) fn diskstats(dev: u64) -> Result<Vec<u64>> {
    let (major, minor) = (rustix::fs::major(dev).to_string(), rustix::fs::minor(dev).to_string());
    let text = fs::read_to_string("/proc/diskstats")?;
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(&major) && words.next() == Some(&minor)
    });
    let line = line.with_context(|| format!("no device {major}:{minor}"))?;
    Ok(line.split_whitespace().skip(3).map(str::parse).collect::<Result<_, _>>()?)
}
