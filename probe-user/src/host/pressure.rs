//! Pressure stall information: for how long tasks had to wait because something was short.

use std::io;
use std::path::Path;

use crate::roots::{self, Roots};

/// Since the boot, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalled {
    /// At least one task waited.
    pub some: u64,
    /// All tasks that had something to do waited. Of the processor, the host as a whole has none.
    pub full: Option<u64>,
}

/// What can be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Disks.
    Io,
}

impl Resource {
    /// All.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Io];

    /// As /proc/pressure has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// Of the host. An error if the kernel was built or started without (`psi=0`).
pub fn of_host(roots: &Roots, resource: Resource) -> io::Result<Stalled> {
    read(&roots.proc.join("pressure").join(resource.name()))
}

/// Of a version 2 control group, by its folder.
pub fn of_cgroup(folder: &Path, resource: Resource) -> io::Result<Stalled> {
    read(&folder.join(format!("{}.pressure", resource.name())))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`, in microseconds; the same for `full`.
fn read(path: &Path) -> io::Result<Stalled> {
    let text = roots::read(path, 4096)?;
    let total = |kind: &[u8]| {
        let mut lines = roots::lines(&text).map(roots::fields);
        let mut line = lines.find_map(|mut fields| (fields.next()? == kind).then_some(fields))?;
        let total = line.find_map(|field| field.strip_prefix(b"total="))?;
        roots::decimal(total)?.checked_mul(1000)
    };
    Ok(Stalled { some: total(b"some").ok_or(io::ErrorKind::InvalidData)?, full: total(b"full") })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn totals_are_read_in_nanoseconds() {
        let folder = tempfile::tempdir().unwrap();
        let text = "some avg10=0.22 avg60=0.1 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        fs::write(folder.path().join("io.pressure"), text).unwrap();
        let stalled = of_cgroup(folder.path(), Resource::Io).unwrap();
        assert_eq!(stalled, Stalled { some: 12_000, full: Some(7000) });
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(text: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("cpu.pressure"), [b"some ", text.as_slice()].concat()).unwrap();
            _ = of_cgroup(folder.path(), Resource::Cpu);
        }
    }
}
