//! What compiling kernel programs needs besides rustc: the sources of `core`, and a linker for BPF.
//!
//! The probe's `build.rs` looks into `bpf/bin` of the testbed: `core-path` says where the sources are, `bpf-linker` is
//! the linker. It is built against the LLVM that rustc itself brings along, because it must be able to read what this
//! rustc writes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Absent, once, step};
use crate::workspace::{self, which};

const LINKER_VERSION: &str = "0.13.0";

/// The suite of Debian that has the sources of a current `core` in a package.
const DEBIAN_SUITE: &str = "trixie-backports";
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const CONSEQUENCE: &str = "the probe is built without kernel programs";

/// The rustc of this workspace, as it describes itself.
struct Rustc {
    sysroot: PathBuf,
    description: String,
}

/// Provides both. Kernel programs run on Linux only, so elsewhere there is nothing to do.
pub(super) fn tools(absent: &mut Vec<Absent>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let folder = workspace::testbed().join("bpf");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let rustc = Rustc::ask()?;
    let version = rustc.said("release")?;
    if let Err(error) = core_sources(&folder, &rustc) {
        absent.push(Absent {
            what: format!("the sources of Rust's core ({error:#})"),
            remedy: format!("rustup component add rust-src, or Debian's package rust-src {version}"),
            consequence: CONSEQUENCE,
        });
    }
    if let Err(error) = linker(&folder, &rustc) {
        if which("bpf-linker").is_some() {
            println!("setup: bpf-linker was not built ({error:#}), the one on PATH will be used");
            return Ok(());
        }
        absent.push(Absent {
            what: format!("bpf-linker ({error:#})"),
            remedy: "cargo install bpf-linker, or put a released bpf-linker on PATH".to_owned(),
            consequence: CONSEQUENCE,
        });
    }
    Ok(())
}

impl Rustc {
    fn ask() -> Result<Self> {
        let rustc = || {
            let mut rustc = Command::new("rustc");
            rustc.current_dir(workspace::root());
            rustc
        };
        let sysroot = PathBuf::from(step::answer(rustc().args(["--print", "sysroot"]))?);
        Ok(Self { sysroot, description: step::answer(rustc().arg("-vV"))? })
    }

    /// The value of a line such as `LLVM version: 22.1.2`.
    fn said(&self, key: &str) -> Result<&str> {
        let lines = self.description.lines().filter_map(|line| line.split_once(": "));
        let value = lines.filter(|(name, _)| *name == key).map(|(_, value)| value).next();
        value.with_context(|| format!("rustc -vV does not say its {key}"))
    }

    fn core(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }
}

fn is_core(folder: &Path) -> bool {
    folder.join("core/Cargo.toml").is_file()
}

/// `bpf/bin/core-path`: where the toolchain's own sources are, or those of Debian's package.
fn core_sources(folder: &Path, rustc: &Rustc) -> Result<()> {
    fs::create_dir_all(folder.join("bin"))?;
    let note = folder.join("bin/core-path");
    if fs::read_to_string(&note).is_ok_and(|path| !is_core(Path::new(&path))) {
        fs::remove_file(&note)?;
    }
    once(&note, &rustc.description, || {
        if !is_core(&rustc.core()) {
            // Where the machine has no rustup, or rustup does not get the component, Debian may have it.
            let _looked_at_below = add_component().is_ok();
        }
        let sources = if is_core(&rustc.core()) { rustc.core() } else { debian_sources(folder, rustc)? };
        Ok(fs::write(&note, sources.to_str().context("the path is not UTF-8")?)?)
    })
}

/// Unlike `rustup update` and `rustup toolchain install`, this never touches rustup itself.
fn add_component() -> Result<()> {
    if which("rustup").is_none() {
        bail!("no rustup");
    }
    let mut add = Command::new("rustup");
    step::quietly("Adding rust-src", add.current_dir(workspace::root()).args(["component", "add", "rust-src"]))
}

/// Debian's package, fetched with lists, cache and sources of its own: those of the machine stay as they are.
fn debian_sources(folder: &Path, rustc: &Rustc) -> Result<PathBuf> {
    if which("apt-get").is_none() || which("dpkg").is_none() || !Path::new(DEBIAN_KEYRING).is_file() {
        bail!("neither rustup nor Debian's apt-get has them");
    }
    let version = rustc.said("release")?;
    let apt = folder.join("apt");
    for part in ["lists/partial", "cache/archives/partial", "deb"] {
        fs::create_dir_all(apt.join(part))?;
    }
    let mut archives = Command::new("apt-get");
    archives.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]);
    let archives = step::answer(&mut archives)?;
    let mut archives = archives.lines().filter_map(|line| line.strip_prefix("Debian "));
    let archive = archives.find(|uri| uri.trim_end_matches('/').ends_with("/debian")).context("no Debian archive")?;
    let list = apt.join("debian.list");
    fs::write(&list, format!("deb [signed-by={DEBIAN_KEYRING}] {archive} {DEBIAN_SUITE} main\n"))?;
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.current_dir(apt.join("deb"));
        for (option, path) in [
            ("Dir::Etc::sourcelist", list.as_path()),
            ("Dir::Etc::sourceparts", Path::new("/dev/null")),
            ("Dir::State::lists", &apt.join("lists")),
            ("Dir::Cache", &apt.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        command.args(["-o", "APT::Sandbox::User=root", "--quiet"]);
        command
    };
    step::quietly("Reading Debian's list of packages", apt_get().arg("update"))?;
    let mut download = apt_get();
    step::quietly("Fetching rust-src from Debian", download.args(["download", &format!("rust-src={version}*")]))?;
    let packages = fs::read_dir(apt.join("deb"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let package = packages.iter().max().context("apt-get has fetched nothing")?;
    let unpacked = folder.join("rust-src");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    step::answer(Command::new("dpkg").arg("-x").arg(package).arg(&unpacked))?;
    fs::remove_dir_all(&apt)?;
    let sources = unpacked.join(format!("usr/src/rustc-{version}/library"));
    if is_core(&sources) { Ok(sources) } else { bail!("{} has no core in it", sources.display()) }
}

/// `bpf/bin/bpf-linker`.
fn linker(folder: &Path, rustc: &Rustc) -> Result<()> {
    let llvm = rustc.said("LLVM version")?;
    let feature = format!("llvm-{}", llvm.split('.').next().unwrap_or(llvm));
    let libraries = rustc.sysroot.join("lib");
    let recipe = format!("{LINKER_VERSION} {}\n{}", libraries.display(), rustc.description);
    once(&folder.join("bin/bpf-linker"), &recipe, || {
        let names = fs::read_dir(&libraries)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_llvm =
            |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so."));
        let library = names.iter().find(is_llvm).context("this rustc has LLVM in it, not beside it")?;
        // What llvm-sys looks for is a folder with the library under its plain name.
        let prefix = folder.join("llvm");
        fs::create_dir_all(prefix.join("lib"))?;
        let plain = prefix.join("lib/libLLVM.so");
        if plain.is_symlink() {
            fs::remove_file(&plain)?;
        }
        symlink(library, plain)?;
        let mut install = workspace::cargo();
        install.args([
            "install",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
            "--locked",
            "--force",
            "--no-default-features",
        ]);
        install.args(["--features", &feature, "--root"]).arg(folder);
        install.env("LLVM_PREFIX", &prefix);
        install.env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", libraries.display()));
        step::quietly("Building bpf-linker, about two minutes", &mut install)
    })
}
