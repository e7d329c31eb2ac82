//! What runs in a virtual machine: one archive for each kernel, and an empty disk.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::modules;
use crate::setup::kernels::Kernel;
use crate::{step, workspace};

/// Runs first in the guest. What it says on the second serial line is the result, the first one has the kernel's log.
const INIT: &str = include_str!("init.sh");

/// Room for the files of the workload.
const DISK_BYTES: u64 = 512 << 20;

/// The programs that a guest gets.
pub(super) struct Programs {
    pub(super) probe: PathBuf,
    pub(super) trial: PathBuf,
}

/// Builds them, as cargo builds them for everything else.
pub(super) fn build() -> Result<Programs> {
    let mut build = workspace::cargo();
    build.args(["build", "--package", "kafkascope-probe", "--bins"]);
    // Standard output is the table's, or the JSON's.
    let status = build.stdin(Stdio::null()).stdout(io::stderr()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the probe and its trial could not be built");
    }
    // This program stands beside what was built.
    let folder = env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    Ok(Programs { probe: folder.join("kafkascope-probe"), trial: folder.join("kafkascope-host-trial") })
}

/// Programs with their libraries, packed once for all kernels.
pub(super) fn pack_programs(programs: &Programs, folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (name, program) in [
        ("busybox", workspace::which("busybox").context("no busybox")?),
        ("kafkascope-probe", programs.probe.clone()),
        ("kafkascope-host-trial", programs.trial.clone()),
    ] {
        add(&mut files, name, &program, folder)?;
    }
    // Without it the trial says that no segments were lost on purpose.
    if let Some(nft) = workspace::which("nft") {
        add(&mut files, "nft", &nft, folder)?;
    }
    Ok(files)
}

/// Adds a program without its debugging information, which is most of it, and the libraries that it is linked with.
fn add(files: &mut Vec<(String, Vec<u8>)>, name: &str, program: &Path, folder: &Path) -> Result<()> {
    let stripped = folder.join(name);
    let mut strip = Command::new("strip");
    let small = step::answer(strip.arg("-o").arg(&stripped).arg(program)).is_ok();
    let content = if small { &stripped } else { program };
    files.push((
        format!("bin/{name}"),
        fs::read(content).with_context(|| format!("cannot read {}", content.display()))?,
    ));
    // It fails for a program that needs none.
    for library in step::answer(Command::new("ldd").arg(program)).unwrap_or_default().lines().filter_map(library) {
        if !files.iter().any(|(path, _)| path == library) {
            files.push((library.to_owned(), fs::read(library).with_context(|| format!("cannot read {library}"))?));
        }
    }
    Ok(())
}

/// The path in a line of `ldd`.
fn library(line: &str) -> Option<&str> {
    let path = line.split_once("=>").map_or(line, |(_, path)| path).split_whitespace().next()?;
    path.starts_with('/').then_some(path)
}

/// Writes `initramfs` and `disk` into `folder`.
pub(super) fn prepare(kernel: &Kernel, programs: &[(String, Vec<u8>)], folder: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for mount in ["proc", "sys", "dev", "tmp", "disk", "run", "etc"] {
        archive.folder(mount);
    }
    for (path, content) in programs {
        archive.file(path, content);
    }
    for (number, (name, content)) in modules::in_order(&kernel.modules)?.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{name}.ko"), content);
    }
    archive.file("init", INIT.as_bytes());
    fs::write(folder.join("initramfs"), archive.finish())?;

    let disk = folder.join("disk");
    // A new file without content: what the last guest wrote is gone, and it takes no room yet.
    fs::File::create(&disk)?.set_len(DISK_BYTES)?;
    let mkfs = workspace::which("mkfs.ext4").context("no mkfs.ext4")?;
    step::answer(Command::new(mkfs).args(["-q", "-F"]).arg(&disk))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_ldd() {
        assert_eq!(
            library("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f32)"),
            Some("/lib/x86_64-linux-gnu/libc.so.6")
        );
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f32)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f32)"), None);
        assert_eq!(library("\tstatically linked"), None);
    }
}
