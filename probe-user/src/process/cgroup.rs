//! What a control group takes and may take: processor time, throttling, memory, swap. Versions 2 and 1.

use std::path::Path;

use crate::discovery::Cgroup;
use crate::roots;

/// Version 1 shows no limit as the largest number of pages there is.
const NO_LIMIT: u64 = 1 << 62;

/// Accounts of a control group. Times in nanoseconds, sizes in bytes; what is not counted is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupFigures {
    /// Processor time.
    pub cpu: Option<u64>,
    /// Of that in user mode.
    pub cpu_user: Option<u64>,
    /// Of that in the kernel.
    pub cpu_system: Option<u64>,
    /// Periods in which it had used up its quota.
    pub throttled_periods: Option<u64>,
    /// Time for which its threads had to wait for that reason.
    pub throttled: Option<u64>,
    /// Processor time that it may take in a second; nothing if there is no quota.
    pub cpu_limit: Option<u64>,
    /// Memory, page cache included.
    pub memory: Option<u64>,
    /// Nothing if there is no limit.
    pub memory_limit: Option<u64>,
    /// Swapped out.
    pub swap: Option<u64>,
    /// Nothing if there is no limit.
    pub swap_limit: Option<u64>,
    /// Processes killed because memory was short.
    pub oom_kills: Option<u64>,
}

impl CgroupFigures {
    /// Reads those of a control group; all left out if it is gone or not visible.
    #[must_use]
    pub fn of(cgroup: &Cgroup) -> Self {
        let mut figures = Self::default();
        if let Some(folder) = &cgroup.folder {
            figures.version_2(folder);
        }
        for (controller, folder) in &cgroup.v1 {
            match controller.as_str() {
                "cpuacct" => figures.cpu = figures.cpu.or(roots::number(&folder.join("cpuacct.usage"))),
                "cpu" => figures.version_1_cpu(folder),
                "memory" => figures.version_1_memory(folder),
                _ => (),
            }
        }
        figures
    }

    fn version_2(&mut self, folder: &Path) {
        let stat = Table::read(&folder.join("cpu.stat"));
        let time = |key: &str| stat.value(key)?.checked_mul(1000);
        // A group without the controller still has the first three, but the root has none of what is below.
        (self.cpu, self.cpu_user, self.cpu_system) = (time("usage_usec"), time("user_usec"), time("system_usec"));
        (self.throttled, self.throttled_periods) = (time("throttled_usec"), stat.value("nr_throttled"));
        if let Ok(text) = roots::read(&folder.join("cpu.max"), 64) {
            let mut fields = roots::fields(&text).map(roots::decimal);
            if let (Some(Some(quota)), Some(Some(period))) = (fields.next(), fields.next()) {
                self.cpu_limit = share(quota, period);
            }
        }
        self.memory = roots::number(&folder.join("memory.current"));
        // `max` is no number.
        self.memory_limit = roots::number(&folder.join("memory.max"));
        self.swap = roots::number(&folder.join("memory.swap.current"));
        self.swap_limit = roots::number(&folder.join("memory.swap.max"));
        self.oom_kills = Table::read(&folder.join("memory.events")).value("oom_kill");
    }

    fn version_1_cpu(&mut self, folder: &Path) {
        let stat = Table::read(&folder.join("cpu.stat"));
        self.throttled_periods = self.throttled_periods.or(stat.value("nr_throttled"));
        self.throttled = self.throttled.or(stat.value("throttled_time"));
        let period = roots::number(&folder.join("cpu.cfs_period_us"));
        // -1 is no number.
        let quota = roots::number(&folder.join("cpu.cfs_quota_us"));
        self.cpu_limit = self.cpu_limit.or(quota.zip(period).and_then(|(quota, period)| share(quota, period)));
    }

    fn version_1_memory(&mut self, folder: &Path) {
        let limit = |name: &str| roots::number(&folder.join(name)).filter(|limit| *limit < NO_LIMIT);
        self.memory = self.memory.or(roots::number(&folder.join("memory.usage_in_bytes")));
        self.memory_limit = self.memory_limit.or(limit("memory.limit_in_bytes"));
        let stat = Table::read(&folder.join("memory.stat"));
        self.swap = self.swap.or(stat.value("swap"));
        self.oom_kills = self.oom_kills.or(Table::read(&folder.join("memory.oom_control")).value("oom_kill"));
    }
}

/// Nanoseconds in a second.
fn share(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1_000_000_000)?.checked_div(period)
}

/// Lines of a name and a number.
struct Table(Vec<u8>);

impl Table {
    fn read(path: &Path) -> Self {
        Self(roots::read(path, roots::FIGURES_LIMIT).unwrap_or_default())
    }

    fn value(&self, key: &str) -> Option<u64> {
        let mut lines = roots::lines(&self.0).map(roots::fields);
        lines.find_map(|mut fields| (fields.next()? == key.as_bytes()).then(|| roots::decimal(fields.next()?))?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn version_2_is_read() {
        let folder = folder(&[
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
            ),
            ("cpu.max", "150000 100000\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "12\n"),
            ("memory.swap.max", "100\n"),
            ("memory.events", "low 0\noom 1\noom_kill 3\n"),
        ]);
        let cgroup = Cgroup { folder: Some(folder.path().to_owned()), ..Cgroup::default() };
        let expected = CgroupFigures {
            cpu: Some(30_000),
            cpu_user: Some(20_000),
            cpu_system: Some(10_000),
            throttled_periods: Some(2),
            throttled: Some(7000),
            cpu_limit: Some(1_500_000_000),
            memory: Some(4096),
            memory_limit: None,
            swap: Some(12),
            swap_limit: Some(100),
            oom_kills: Some(3),
        };
        assert_eq!(CgroupFigures::of(&cgroup), expected);
    }

    #[test]
    fn version_1_is_read() {
        let folder = folder(&[
            ("cpuacct.usage", "123\n"),
            ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 70\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "cache 1\nswap 8\n"),
        ]);
        let v1 = ["cpu", "cpuacct", "memory"].map(|name| (name.to_owned(), folder.path().to_owned())).to_vec();
        let expected = CgroupFigures {
            cpu: Some(123),
            throttled_periods: Some(2),
            throttled: Some(70),
            memory: Some(4096),
            swap: Some(8),
            ..CgroupFigures::default()
        };
        assert_eq!(CgroupFigures::of(&Cgroup { v1, ..Cgroup::default() }), expected);
        assert_eq!(CgroupFigures::of(&Cgroup::default()), CgroupFigures::default());
    }
}
