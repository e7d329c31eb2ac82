//! Loading the programs and hanging them in, each sampler by itself.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::{
    BtfTracePoint, CgroupAttachMode, FExit, Program, ProgramError, RawTracePoint, SockOps, TracePoint,
};
use aya::{Ebpf, EbpfLoader};
use kafkascope_probe_ebpf::{ABSENT, Offsets, Settings};

use super::btf::{Btf, BtfError};
use super::limits::Limits;
use super::object::PROGRAMS;
use super::shared::Shared;

/// Where tracefs is mounted, in the order in which it is looked for.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Where the first argument of a system call is in the record of its tracepoint, see `fsync_enter`.
const FIRST_ARGUMENT: &str = "offset:16;";

/// What the verifier's log ends with, after what is wrong.
const VERIFIER_FIGURES: [&str; 3] = ["processed ", "stack depth ", "verification time "];

/// Why a sampler does not work, in words for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is nothing to load.
    #[error("built without kernel programs: {0}")]
    NotBuilt(&'static str),
    /// Nobody asks for it.
    #[error("switched off (--samplers)")]
    Unwanted,
    /// The kernel does not say how its structures look.
    #[error("{0}")]
    Types(#[from] BtfError),
    /// It has no such hook.
    #[error("this kernel has no {0}")]
    NoHook(&'static str),
    /// The maps cannot be made.
    #[error("{0}")]
    Maps(String),
    /// A program cannot be loaded or attached.
    #[error("{program} is refused: {reason}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel says.
        reason: String,
    },
    /// Neither of two that do the same can.
    #[error("{}; {}", .0[0], .0[1])]
    Both(Box<[Refusal; 2]>),
    /// Tracepoints cannot be looked up.
    #[error("tracefs is not mounted (mount -t tracefs tracefs {})", TRACEFS[0])]
    NoTracefs,
    /// The tracepoint's record is not as the program reads it.
    #[error("the record of {0} has another layout")]
    Layout(&'static str),
    /// Where to attach for all of the host's connections.
    #[error("no cgroup2 is mounted (mount -t cgroup2 none /sys/fs/cgroup)")]
    NoCgroup,
    /// It cannot be opened.
    #[error("{}: {error}", path.display())]
    Cgroup {
        /// The root of the hierarchy.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
}

/// The programs in the kernel, and what is known of it.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) btf: Btf,
}

/// Makes the maps. No program is loaded yet.
pub(super) fn load(limits: &Limits) -> Result<Loaded, Refusal> {
    let object = PROGRAMS.map_err(Refusal::NotBuilt)?;
    let btf = Btf::running()?;
    let mut offsets = Offsets::find(|structure, path| btf.offset(structure, path));
    // Before 5.16 the page cache was made of pages.
    for (folio, page) in
        [(&mut offsets.folio_mapping, offsets.page_mapping), (&mut offsets.folio_index, offsets.page_index)]
    {
        if *folio == ABSENT {
            *folio = page;
        }
    }
    if offsets.registers_all != ABSENT {
        let arguments =
            [&mut offsets.argument_0, &mut offsets.argument_1, &mut offsets.argument_2, &mut offsets.argument_3];
        for (index, argument) in (0..).zip(arguments) {
            *argument = offsets.registers_all + 8 * index;
        }
    }
    let settings = Settings {
        burst_gap_ns: limits.burst_gap.as_nanos().try_into().unwrap_or(u64::MAX),
        request_argument: btf.tracepoint("block_rq_issue").unwrap_or(1).saturating_sub(1) as u32,
        has_task_registers: u32::from(btf.has_function("bpf_task_pt_regs")),
        page_shift: rustix::param::page_size().trailing_zeros(),
        large_folio_bit: btf.enumerator("pageflags", "PG_head").unwrap_or(0) & 63,
    };
    let (offsets, settings) = (Shared(offsets), Shared(settings));
    let mut loader = EbpfLoader::new();
    // The programs need no relocation, and the kernel's types would take tens of megabytes here.
    loader.btf(None).override_global("OFFSETS", &offsets, true).override_global("SETTINGS", &settings, true);
    for (map, entries) in limits.maps() {
        loader.map_max_entries(map, entries);
    }
    let ebpf = loader.load(object).map_err(|error| Refusal::Maps(reason(&error)))?;
    Ok(Loaded { ebpf, btf })
}

impl Loaded {
    /// Loads `program` and attaches it to a tracepoint whose arguments it reads by their types. Where the verifier does
    /// not like that, `by_address` does the same by calls, more slowly.
    pub(super) fn typed(
        &mut self,
        program: &'static str,
        by_address: &'static str,
        tracepoint: &'static str,
    ) -> Result<(), Refusal> {
        let btf = self.btf.excerpt_for_tracepoint(tracepoint).ok_or(Refusal::NoHook(tracepoint))?;
        let loaded: &mut BtfTracePoint = self.program(program)?;
        match loaded.load(tracepoint, &btf).and_then(|()| loaded.attach()) {
            Ok(_link) => Ok(()),
            Err(error) => {
                drop(loaded.unload());
                let refusal = refused(program, &error);
                self.raw(by_address, tracepoint).map_err(|slower| Refusal::Both(Box::new([refusal, slower])))
            }
        }
    }

    /// Loads `program` and attaches it to a tracepoint, without the record that tracepoints else make.
    pub(super) fn raw(&mut self, program: &'static str, tracepoint: &'static str) -> Result<(), Refusal> {
        if self.btf.tracepoint(tracepoint).is_none() {
            return Err(Refusal::NoHook(tracepoint));
        }
        let loaded: &mut RawTracePoint = self.program(program)?;
        let attached = loaded.load().and_then(|()| loaded.attach(tracepoint));
        attached.map(drop).map_err(|error| refused(program, &error))
    }

    /// Loads `program` and attaches it to the return of a function.
    pub(super) fn on_return(&mut self, program: &'static str, function: &str) -> Result<(), Refusal> {
        let refused = |error: &ProgramError| refused(program, error);
        let btf = self.btf.excerpt_for_function(function).ok_or(Refusal::NoHook("such function"))?;
        let loaded: &mut FExit = self.program(program)?;
        loaded.load(function, &btf).map_err(|error| refused(&error))?;
        loaded.attach().map(drop).map_err(|error| refused(&error))
    }

    /// Loads `program` and attaches it to the tracepoints of system calls.
    pub(super) fn on_calls(&mut self, program: &'static str, calls: &[&'static str]) -> Result<(), Refusal> {
        let tracefs = tracefs().ok_or(Refusal::NoTracefs)?;
        for call in calls {
            let format = tracefs.join("events/syscalls").join(call).join("format");
            let Ok(format) = fs::read_to_string(format) else { return Err(Refusal::NoHook(call)) };
            let descriptor = format.lines().find(|line| line.contains(" fd;"));
            if descriptor.is_some_and(|line| !line.contains(FIRST_ARGUMENT)) {
                return Err(Refusal::Layout(call));
            }
        }
        let loaded: &mut TracePoint = self.program(program)?;
        loaded.load().map_err(|error| refused(program, &error))?;
        for call in calls {
            loaded.attach("syscalls", call).map_err(|error| refused(program, &error))?;
        }
        Ok(())
    }

    /// Loads `program` and attaches it to the root of the cgroups, once for all connections of the host.
    pub(super) fn on_sockets(&mut self, program: &'static str) -> Result<(), Refusal> {
        let path = cgroup_root().ok_or(Refusal::NoCgroup)?;
        let root = File::open(&path).map_err(|error| Refusal::Cgroup { path, error })?;
        let loaded: &mut SockOps = self.program(program)?;
        let attached = loaded.load().and_then(|()| loaded.attach(root, CgroupAttachMode::Single));
        attached.map(drop).map_err(|error| refused(program, &error))
    }

    /// Takes a program out again.
    pub(super) fn unload(&mut self, program: &'static str) {
        let Some(program) = self.ebpf.program_mut(program) else { return };
        let unloaded = match program {
            Program::BtfTracePoint(program) => program.unload(),
            Program::RawTracePoint(program) => program.unload(),
            Program::TracePoint(program) => program.unload(),
            Program::FExit(program) => program.unload(),
            Program::SockOps(program) => program.unload(),
            _ => Ok(()),
        };
        // It was not loaded then, which is what was wanted.
        drop(unloaded);
    }

    fn program<'a, T>(&'a mut self, name: &'static str) -> Result<T, Refusal>
    where
        T: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        let missing = || Refusal::Program { program: name, reason: "it is not in the object".to_owned() };
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        T::try_from(program).map_err(|error| refused(name, &error))
    }
}

fn refused(program: &'static str, error: &ProgramError) -> Refusal {
    let reason = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let is_figure = |line: &&str| VERIFIER_FIGURES.iter().any(|figure| line.starts_with(figure));
            match log.lines().rfind(|line| !line.is_empty() && !is_figure(line)) {
                Some(said) => format!("the verifier refuses: {said}"),
                None => permission(io_error).unwrap_or_else(|| io_error.to_string()),
            }
        }
        other => reason(other),
    };
    Refusal::Program { program, reason }
}

/// An error with all that caused it, on one line.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(hint) = error.downcast_ref::<io::Error>().and_then(permission) {
            return hint;
        }
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

fn permission(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::PermissionDenied)
        .then(|| format!("{error} (needs CAP_BPF and CAP_PERFMON, for connections CAP_NET_ADMIN)"))
}

/// Where tracefs is mounted.
pub(super) fn tracefs() -> Option<&'static Path> {
    TRACEFS.iter().map(Path::new).find(|path| path.join("events").is_dir())
}

/// The root of the cgroups of version 2, from mountinfo (Documentation/filesystems/proc.rst).
pub(super) fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (file_system.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })
}
