//! What the programs cost, by the kernel's own clock: shown here, and judged by the benchmark on a quiet machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;

use anyhow::{Result, ensure};
use kafkascope_probe::kernel::Kernel;

use crate::stage::{self, DiskFile, PAGE, Plain};

/// Programs that run once for each of so many events here.
const EVENTS: [(&str, u64); 4] =
    [("page_cache_get", READS), ("page_cache_add", PAGES), ("fsync_enter", CALLS), ("fdatasync_enter", CALLS)];
const ROUNDS: u64 = 20;
const PAGES: u64 = 2048;
const READS: u64 = ROUNDS * PAGES;
const CALLS: u64 = 100;

pub(crate) fn trials() -> Vec<Plain> {
    vec![("cost::each_run_of_a_program_is_counted_and_timed", each_event)]
}

fn each_event() -> Result<()> {
    let kernel = stage::kernel(&["page_cache", "disk", "fsync", "tcp"])?;
    let mut kernel = kernel;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/thread-self/ns/net")?) as u32;
    kernel.watch_port(netns, listener.local_addr()?.port())?;
    reads()?;
    exchange(&listener)?;
    report(&kernel)
}

fn reads() -> Result<()> {
    let file = DiskFile::new("cost", PAGES)?;
    let mut page = vec![0; PAGE as usize];
    for round in 0..ROUNDS {
        if round % 4 == 0 {
            file.drop_cached()?;
        }
        // Not in order, so that each read is one of its own.
        for index in 0..PAGES {
            file.file.read_exact_at(&mut page, (index * 769 % PAGES) * PAGE)?;
        }
    }
    for _ in 0..CALLS {
        file.file.sync_all()?;
        file.file.sync_data()?;
    }
    Ok(())
}

fn exchange(listener: &TcpListener) -> Result<()> {
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut accepted, _) = listener.accept()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            while accepted.read_exact(&mut byte).and_then(|()| accepted.write_all(&byte)).is_ok() {}
        });
        for _ in 0..20_000 {
            client.write_all(&[1])?;
            client.read_exact(&mut [0])?;
        }
        client.shutdown(std::net::Shutdown::Write)?;
        Ok(())
    })
}

fn report(kernel: &Kernel) -> Result<()> {
    let cost = kernel.cost();
    ensure!(cost.untimed.is_none(), "{:?}", cost.untimed);
    for program in &cost.programs {
        let mean = program.time.as_nanos() as u64 / program.runs.max(1);
        println!("{:20} {:8} runs, {mean:5} ns each", program.name, program.runs);
        ensure!(program.runs == 0 || !program.time.is_zero(), "{}: no time", program.name);
    }
    for (name, events) in EVENTS {
        let runs = cost.programs.iter().find(|program| program.name == name).map_or(0, |program| program.runs);
        ensure!(runs >= events, "{name}: {runs} runs for {events} events");
    }
    for map in &cost.maps {
        ensure!(map.entries <= map.capacity, "{map:?}");
    }
    Ok(())
}
