//! What a process takes of the host: processor, memory, files, disk; by the kernel's accounts of it.

pub mod cgroup;
pub mod up;

use std::fs;
use std::io;

use crate::roots::{self, Pid, Roots};

/// Accounts of one process. Times in nanoseconds, sizes in bytes; what the kernel does not tell us is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Processor time in user mode, in steps of the kernel's clock tick.
    pub cpu_user: u64,
    /// Processor time in the kernel.
    pub cpu_system: u64,
    /// Memory that is in RAM.
    pub resident: u64,
    /// The most that was.
    pub resident_peak: u64,
    /// Address space.
    pub virtual_size: u64,
    /// Memory that is swapped out.
    pub swap: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// How many it may open (the soft limit); nothing if there is no limit.
    pub open_files_limit: Option<u64>,
    /// Read from disks: what was in the page cache is not in this.
    pub disk_read: Option<u64>,
    /// Written into the page cache, on the way to disks.
    pub disk_written: Option<u64>,
}

impl Figures {
    /// Reads those of a process; an error if it is gone.
    pub fn of(roots: &Roots, pid: Pid) -> io::Result<Self> {
        let mut figures = Self::default();
        let stat = roots.read_of(pid, "stat")?;
        figures.times(&stat).ok_or(io::ErrorKind::InvalidData)?;
        figures.memory(&roots.read_of(pid, "status")?);
        figures.open_files = open_files(roots, pid);
        if let Ok(text) = roots.read_of(pid, "limits") {
            figures.open_files_limit = open_files_limit(&text);
        }
        if let Ok(text) = roots.read_of(pid, "io") {
            figures.disk(&text);
        }
        Ok(figures)
    }

    /// /proc/PID/stat, in which the name may be any bytes.
    fn times(&mut self, stat: &[u8]) -> Option<()> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = roots::fields(stat.get(end + 1..)?).skip(11);
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let mut time = || Some(roots::decimal(fields.next()?)?.saturating_mul(tick));
        (self.cpu_user, self.cpu_system) = (time()?, time()?);
        Some(())
    }

    /// /proc/PID/io, which needs the right to trace the process.
    fn disk(&mut self, io: &[u8]) {
        let value =
            |name: &[u8]| roots::decimal(roots::lines(io).find_map(|line| line.strip_prefix(name))?.trim_ascii());
        let written = value(b"write_bytes:").zip(value(b"cancelled_write_bytes:"));
        self.disk_read = value(b"read_bytes:");
        self.disk_written = written.map(|(written, cancelled)| written.saturating_sub(cancelled));
    }

    fn memory(&mut self, status: &[u8]) {
        for line in roots::lines(status) {
            let mut fields = roots::fields(line);
            let (Some(name), Some(value)) = (fields.next(), fields.next().and_then(roots::decimal)) else { continue };
            // `VmRSS:      1234 kB`
            let bytes = value.saturating_mul(1024);
            match name {
                b"VmRSS:" => self.resident = bytes,
                b"VmHWM:" => self.resident_peak = bytes,
                b"VmSize:" => self.virtual_size = bytes,
                b"VmSwap:" => self.swap = bytes,
                b"Threads:" => self.threads = value,
                _ => (),
            }
        }
    }
}

/// `Max open files            1024                 524288               files`: soft and hard.
fn open_files_limit(limits: &[u8]) -> Option<u64> {
    let limit = roots::lines(limits).find_map(|line| line.strip_prefix(b"Max open files"))?;
    roots::decimal(roots::fields(limit).next()?)
}

fn open_files(roots: &Roots, pid: Pid) -> Option<u64> {
    let folder = roots.process(pid).join("fd");
    // Linux 6.2 and later give the number as the size of the folder.
    match fs::metadata(&folder).ok()?.len() {
        0 => Some(fs::read_dir(&folder).ok()?.count() as u64),
        number => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_swap_too() {
        let mut figures = Figures::default();
        let status = b"Name:\tj\xffva\nVmPeak:\t  9 kB\nVmSize:\t  300 kB\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n\
                       VmSwap:\t   12 kB\nThreads:\t7\n";
        figures.memory(status);
        let expected = Figures {
            resident: 102_400,
            resident_peak: 204_800,
            virtual_size: 307_200,
            swap: 12_288,
            threads: 7,
            ..Figures::default()
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn limit_and_disk_are_read() {
        let limits = b"Limit Soft Hard Units\nMax processes 5 6 processes\nMax open files  1024   4096   files\n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(open_files_limit(b"Max open files  unlimited unlimited files\n"), None);
        let mut figures = Figures::default();
        figures.disk(b"rchar: 9\nwchar: 8\nread_bytes: 7\nwrite_bytes: 6\ncancelled_write_bytes: 2\n");
        assert_eq!((figures.disk_read, figures.disk_written), (Some(7), Some(4)));
    }

    #[test]
    fn figures_of_this_process_are_there() {
        let figures = Figures::of(&Roots::default(), Pid(std::process::id())).unwrap();
        assert!(figures.resident > 1 << 20 && figures.virtual_size > figures.resident && figures.threads > 0);
        assert!(figures.open_files.unwrap() > 2);
        assert!(figures.open_files_limit.is_none_or(|limit| limit >= figures.open_files.unwrap()));
        assert!(Figures::of(&Roots::default(), Pid(u32::MAX)).is_err(), "no such process");
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 4)) {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("7")).unwrap();
            for (name, content) in ["stat", "status", "limits", "io"].iter().zip(&files) {
                let good: &[u8] = if *name == "stat" { b"7 (x) S 0 0 0 0 0 0 0 0 0 0 5 6 " } else { b"" };
                fs::write(folder.path().join("7").join(name), [good, content].concat()).unwrap();
            }
            let roots = Roots { proc: folder.path().to_owned(), ..Roots::default() };
            _ = Figures::of(&roots, Pid(7));
        }
    }
}
