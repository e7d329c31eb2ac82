//! What only the kernel's own calls can tell or do: which pages are in memory, CPU time, ending with a parent.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use anyhow::{Context, Result, bail};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::{Signal, set_parent_process_death_signal};

/// How many pages of the first `length` bytes of a file are in memory.
pub(crate) fn pages_in_memory(file: &File, length: usize) -> Result<usize> {
    let mut pages = vec![0_u8; length.div_ceil(page_size())];
    // SAFETY: a new mapping at an address that the kernel chooses, of which nothing is ever read.
    let address = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
    // SAFETY: `address` maps `length` bytes, and `pages` has a byte for each page of them.
    let asked = unsafe { libc::mincore(address, length, pages.as_mut_ptr()) };
    let outcome = if asked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the mapping from above, to which nothing refers any more.
    unsafe { munmap(address, length) }?;
    outcome.context("mincore")?;
    Ok(pages.iter().filter(|page| **page & 1 == 1).count())
}

/// Seconds of CPU that this process has used, in user and kernel mode, all threads.
pub(crate) fn cpu_seconds() -> Result<f64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the kernel fills in what the pointer names, which is of the type that the call wants.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error()).context("getrusage");
    }
    // SAFETY: the call has succeeded, so it is filled in.
    let usage = unsafe { usage.assume_init() };
    #[expect(clippy::cast_precision_loss, reason = "microseconds and seconds of a short run")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Becomes `command`, which the kernel then ends as soon as the parent of this process has ended.
pub(crate) fn become_mortal(command: &[String]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [program, arguments @ ..] = command else { bail!("no command") };
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("cannot run {program}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_just_written_is_in_memory() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 3 * page_size() + 1]).unwrap();
        assert_eq!(pages_in_memory(&file, 3 * page_size() + 1).unwrap(), 4);
    }

    #[test]
    fn cpu_time_passes() {
        let before = cpu_seconds().unwrap();
        while cpu_seconds().unwrap() <= before {}
    }
}
