//! Items 12, 13, 36, 37: CPU, memory, swap and disk space, beside programs that use known amounts.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Break;
use super::actor::SWAPPED;
use super::stage::{Actor, Stage, counted, growth, output, say};
use crate::eventually::eventually;
use crate::truth::busy::Busy;
use crate::truth::row::{Figure, Row, Tolerance};

/// Of an actor.
const fn labels(role: &str) -> [(&str, &str); 1] {
    [("kafkascope_process_name", role)]
}

/// Items 12, 13 and 36.
pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut rows = vec![cpu(stage)?];
    rows.extend(machine(stage)?);
    rows.extend(memory(stage)?);
    rows.push(space(stage)?);
    Ok(rows)
}

fn cpu(stage: &Stage) -> Result<Row> {
    say("a program that burns CPU time");
    let mut burner = stage.actor("burn", true)?;
    let mut twin = stage.actor("burn", false)?;
    stage.eventually("the burner to be watched", |scrape| {
        scrape.sum("kafkascope_process_up", &labels("burn")) == Some(1.0)
            && scrape.sum("process_cpu_time_seconds_total", &labels("burn")).is_some()
    })?;
    let before = stage.scrape()?;
    burner.go()?;
    let mut burned = burner.number()?;
    if stage.is_broken(Break::Unseen) {
        twin.go()?;
        burned += twin.number()?;
    }
    let after = stage.scrape()?;
    let ours = counted(&before, &after, "process_cpu_time_seconds_total", &labels("burn"));
    let tolerance = Tolerance::percent(2.0).plus(0.05, "s");
    Ok(Row::compared(13, "CPU time of a process, s", ours, Ok(Figure::count(burned)), "its own CPU clock", tolerance))
}

/// All that the CPUs do takes as much time as there is.
fn machine(stage: &Stage) -> Result<Vec<Row>> {
    let (told, begin) = (Busy::begin()?, Instant::now());
    let before = stage.scrape()?;
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    let end = Instant::now();
    let after = stage.scrape()?;
    let (all, told) = (begin.elapsed(), told.seconds()?);
    let processors = processors()?;
    // When it was read within the first and the last scrape is not known.
    let (least, most) = ((end - start).as_secs_f64() * processors, all.as_secs_f64() * processors);
    let ours = counted(&before, &after, "system_cpu_time_seconds_total", &[]);
    let truth = Ok(Figure::count((least + most) / 2.0));
    // A virtual processor that its host stops while it works loses what the kernel does not tell: that counts by ticks,
    // and many that are due at once are one (CONFIG_TICK_CPU_ACCOUNTING).
    let untold = (most - told).max(0.0);
    let allowed = 0.05 + (most - least) / 2.0 + untold;
    let tolerance = Tolerance::percent(2.0).plus((allowed * 1e3).round() / 1e3, "s");
    Ok(vec![Row::compared(13, "CPU time of the host, all modes, s", ours, truth, "wall clock x CPUs", tolerance)])
}

/// Those of the machine, whichever of them this process may use.
fn processors() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read the machine's CPU times")?;
    Ok(stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as f64)
}

fn memory(stage: &Stage) -> Result<Vec<Row>> {
    say("a program that touches memory");
    let mut actor = stage.actor("touch", true)?;
    let mut twin = stage.actor("touch", false)?;
    let id = actor.id();
    stage.eventually("the actor to be watched", |scrape| {
        scrape.sum("kafkascope_process_up", &labels("touch")) == Some(1.0)
            && scrape.sum("process_memory_usage_bytes", &labels("touch")).is_some()
    })?;
    let (before, kept_before) = (stage.scrape()?, kept_by_processors()?);
    actor.go()?;
    let mut touched = actor.number()?;
    if stage.is_broken(Break::Unseen) {
        twin.go()?;
        touched += twin.number()?;
    }
    let (after, kept_after) = (stage.scrape()?, kept_by_processors()?);
    let ours = counted(&before, &after, "process_memory_usage_bytes", &labels("touch"));
    let available =
        growth(&before, &after, "system_memory_linux_available_bytes", &[]).map(|grown| Figure::count(-grown));
    let tolerance = Tolerance::percent(2.0);
    Ok(vec![
        Row::compared(
            36,
            "memory of a process, bytes",
            ours,
            Ok(Figure::count(touched)),
            "bytes that it touched",
            tolerance,
        )
        .noted(&format!("process {id}")),
        Row::compared(
            36,
            "available memory taken, bytes",
            available,
            Ok(Figure::count(touched - (kept_before - kept_after))),
            "bytes that a process touched, less what processors had kept",
            tolerance,
        ),
    ])
}

/// Bytes of free pages that each processor keeps to itself, from /proc/zoneinfo. The kernel counts them as neither free nor
/// available; since 6.7 it makes these lists longer, up to gigabytes, where much is freed.
fn kept_by_processors() -> Result<f64> {
    const PAGE: f64 = 4096.0;
    let text = fs::read_to_string("/proc/zoneinfo").context("cannot read /proc/zoneinfo")?;
    let counts = text.lines().filter_map(|line| line.trim().strip_prefix("count:")?.trim().parse::<f64>().ok());
    Ok(counts.sum::<f64>() * PAGE)
}

fn space(stage: &Stage) -> Result<Row> {
    const WRITTEN: usize = 256 << 20;
    let folder = stage.cluster.folder().to_owned();
    let mount = output("stat", &["--format", "%m", folder.to_str().context("a path of the tests is text")?])?;
    let labels = [("system_filesystem_mountpoint", mount.trim()), ("system_filesystem_state", "used")];
    let before = stage.scrape()?;
    let path = folder.join("ballast");
    let mut file = File::create(&path)?;
    for _ in 0..WRITTEN >> 20 {
        file.write_all(&vec![1; 1 << 20])?;
    }
    file.sync_all()?;
    // Some file systems set aside more than is written as long as a file is open.
    drop(file);
    let after = stage.scrape()?;
    fs::remove_file(&path)?;
    let mut written = WRITTEN as f64;
    if stage.is_broken(Break::Unseen) {
        let elsewhere = std::path::Path::new("/dev/shm").join(format!("kafkascope-{}", std::process::id()));
        fs::write(&elsewhere, vec![1; WRITTEN])?;
        written += fs::metadata(&elsewhere)?.len() as f64;
        fs::remove_file(&elsewhere)?;
    }
    let used = output("df", &["--block-size=1", "--output=used", folder.to_str().unwrap_or_default()])?;
    let used: f64 = used.lines().last().unwrap_or_default().trim().parse().context("df says no number")?;
    let ours = counted(&before, &after, "system_filesystem_usage_bytes", &labels);
    let tolerance = Tolerance::percent(1.0).plus(1e6, "bytes");
    let row =
        Row::compared(12, "space taken by a file, bytes", ours, Ok(Figure::count(written)), "its size", tolerance);
    Ok(row.noted(&format!("df: {used:.0} used")))
}

/// Item 37: half of a program's memory is pushed out of a memory cgroup that is too small.
pub(super) fn swap_rows(stage: &mut Stage) -> Result<Vec<Row>> {
    say("a program that is swapped out");
    let swap = Swap::begin()?;
    let mut actor = Actor::start("swap", !stage.is_broken(Break::Unseen), &swap.confined())?;
    stage.eventually("the actor to be watched", |scrape| {
        scrape.sum("kafkascope_process_swap_bytes", &labels("swap")).is_some()
    })?;
    let before = stage.scrape()?;
    actor.go()?;
    actor.number()?;
    // At rest: what is swapped stays so.
    let mut truth = -1.0;
    let after = eventually("swapping to come to rest", Duration::from_secs(30), || {
        let now = swapped_pages(actor.id())? as f64 * 4096.0;
        let was = std::mem::replace(&mut truth, now);
        (was == now).then(|| stage.scrape()).transpose()
    })?;
    let ours = after
        .sum("kafkascope_process_swap_bytes", &labels("swap"))
        .map(Figure::count)
        .ok_or_else(|| "no series".to_owned());
    let used =
        growth(&before, &after, "system_paging_usage_bytes", &[("system_paging_state", "used")]).map(Figure::count);
    let of_system = Ok(Figure::count(swap.used()?));
    Ok(vec![
        Row::compared(
            37,
            "swapped memory of a process, bytes",
            ours,
            Ok(Figure::count(truth)),
            "its page map",
            Tolerance::EXACT,
        )
        .noted(&format!("of {SWAPPED} bytes touched")),
        // Pages that came back keep their place in the swap space, too.
        Row::compared(37, "swap space used, bytes", used, of_system, "/proc/swaps", Tolerance::percent(1.0)),
    ])
}

/// Pages of a process that are in swap, by its page map (bit 62: Documentation/admin-guide/mm/pagemap.rst).
fn swapped_pages(process: u32) -> Result<u64> {
    use std::os::unix::fs::FileExt;
    let map = File::open(format!("/proc/{process}/pagemap"))?;
    let mut pages = 0;
    for line in fs::read_to_string(format!("/proc/{process}/maps"))?.lines() {
        let (from, to) = line.split_whitespace().next().and_then(|range| range.split_once('-')).context("a mapping")?;
        let (from, to) = (u64::from_str_radix(from, 16)? / 4096, u64::from_str_radix(to, 16)? / 4096);
        let mut entries = vec![0; usize::try_from(to - from)? * 8];
        // The kernel's own mapping at the end of the address space has no entries.
        if map.read_exact_at(&mut entries, from * 8).is_ok() {
            pages += entries.chunks_exact(8).filter(|entry| entry[7] & 0x40 != 0).count() as u64;
        }
    }
    Ok(pages)
}

/// A swap file and a cgroup that is too small.
struct Swap {
    file: std::path::PathBuf,
    cgroup: std::path::PathBuf,
    before: f64,
}

impl Swap {
    fn begin() -> Result<Self> {
        let before = swaps_used()?;
        let file = std::env::temp_dir().join(format!("kafkascope-swap-{}", std::process::id()));
        let mut swap = File::create(&file)?;
        for _ in 0..128 {
            swap.write_all(&vec![0; 1 << 20])?;
        }
        swap.sync_all()?;
        let path = file.to_str().context("a path of the tests is text")?;
        output("chmod", &["600", path])?;
        output("mkswap", &[path])?;
        output("swapon", &[path])?;
        let folder = format!("kafkascope-truth-{}", std::process::id());
        let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let cgroup =
            std::path::Path::new(if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" }).join(folder);
        let swap = Self { file, cgroup, before };
        fs::create_dir(&swap.cgroup).with_context(|| format!("cannot make {}", swap.cgroup.display()))?;
        let limit = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(swap.cgroup.join(limit), (SWAPPED / 2).to_string())?;
        Ok(swap)
    }

    /// How to start a program in the cgroup.
    fn confined(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.cgroup.display());
        ["sh", "-c", &script].map(str::to_owned).to_vec()
    }

    /// What is used in all swap spaces more than before.
    fn used(&self) -> Result<f64> {
        Ok(swaps_used()? - self.before)
    }
}

fn swaps_used() -> Result<f64> {
    let swaps = fs::read_to_string("/proc/swaps")?;
    let used = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
    Ok(used.sum::<f64>() * 1024.0)
}

impl Drop for Swap {
    fn drop(&mut self) {
        _ = std::process::Command::new("swapoff").arg(&self.file).status();
        _ = fs::remove_file(&self.file);
        _ = crate::eventually::until("the cgroup to be empty", Duration::from_secs(5), || {
            fs::remove_dir(&self.cgroup).is_ok()
        });
    }
}
