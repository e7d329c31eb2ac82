//! Compiles the kernel programs into the probe, if this machine has what that takes.
//!
//! An ordinary `cargo build` needs no tools for BPF and never fails for want of them: the probe is then built without
//! programs, knows why, and says so when it runs. `cargo xtask setup --only bpf` gets what is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What cargo hands to build scripts, or a user sets for the host, must not reach the compilation for BPF; these may.
const KEPT: [&str; 6] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_MAKEFLAGS"];

/// The tools, as they were found.
struct Tools {
    linker: PathBuf,
    /// The folder with the sources of `core`, unless the toolchain has them itself.
    core: Option<PathBuf>,
    sysroot: PathBuf,
}

fn main() {
    let output = PathBuf::from(variable("OUT_DIR"));
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().unwrap_or(&package);
    for watched in ["probe-ebpf/src", "probe-ebpf/Cargo.toml", "probe-user/build.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=KAFKASCOPE_CACHE");
    let testbed = env::var_os("KAFKASCOPE_CACHE").map_or_else(|| workspace.join("target/testbed"), PathBuf::from);
    let folder = testbed.join("bpf/bin");
    // So that there is something to watch for when the tools come later: what is missing counts as changed, always.
    if fs::create_dir_all(&folder).is_ok() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }

    let compiled = find(&folder).and_then(|tools| compile(&tools, workspace, &output));
    let code = match compiled {
        Ok(object) => format!("Ok(aya::include_bytes_aligned!({object:?}))"),
        Err(reason) => format!("Err({reason:?})"),
    };
    if let Err(error) = fs::write(output.join("programs.rs"), code) {
        panic!("cannot write to {}: {error}", output.display());
    }
}

/// Finds the tools, or says what is missing.
fn find(folder: &Path) -> Result<Tools, String> {
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        return Err("kernel programs run on Linux only".to_owned());
    }
    let remedy = "run `cargo xtask setup --only bpf` and build again";
    let sysroot = said(Command::new(rustc()).args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    let has_core = |library: &Path| library.join("core/Cargo.toml").is_file();
    let core = if has_core(&sysroot.join("lib/rustlib/src/rust/library")) {
        None
    } else {
        let noted = fs::read_to_string(folder.join("core-path")).map(PathBuf::from);
        let noted = noted.ok().filter(|path| has_core(path));
        Some(noted.ok_or_else(|| format!("the sources of core are missing: {remedy}"))?)
    };
    let on_path = env::var_os("PATH").unwrap_or_default();
    let folders = [folder.to_owned()].into_iter().chain(env::split_paths(&on_path));
    let linker = folders.map(|folder| folder.join("bpf-linker")).find(|path| path.is_file());
    let linker = linker.ok_or_else(|| format!("bpf-linker is missing: {remedy}"))?;
    Ok(Tools { linker, core, sysroot })
}

/// Compiles the programs; the path of the object.
fn compile(tools: &Tools, workspace: &Path, output: &Path) -> Result<PathBuf, String> {
    let big = variable("CARGO_CFG_TARGET_ENDIAN") == "big";
    let target = if big { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    let mut cargo = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_cargos = name.starts_with("CARGO") || name.starts_with("RUSTC") || name.ends_with("RUSTFLAGS");
        if is_cargos && !KEPT.iter().any(|kept| name.starts_with(kept)) {
            cargo.env_remove(name);
        }
    }
    // A folder of its own: the lock on the workspace's is held by the cargo that runs this.
    let folder = output.join("bpf");
    cargo.current_dir(workspace);
    cargo.args(["build", "--locked", "--release", "-Z", "build-std=core", "--target", target]);
    cargo.args(["--package", "kafkascope-probe-ebpf", "--bin", "kafkascope-probe-ebpf", "--features", "programs"]);
    cargo.arg("--target-dir").arg(&folder);
    cargo.env("RUSTC", rustc()).env("RUSTC_BOOTSTRAP", "1");
    cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_")), &tools.linker);
    // The types that the linker writes as BTF come from the debug information.
    for (key, value) in [("DEBUG", "2"), ("LTO", "off"), ("CODEGEN_UNITS", "1"), ("PANIC", "abort"), ("OPT_LEVEL", "3")]
    {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    // The same object wherever it is built.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{}\"", variable("CARGO_CFG_TARGET_ARCH")),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={}=/out", folder.display()),
        format!("--remap-path-prefix={}=/kafkascope", workspace.display()),
        format!("--remap-path-prefix={}/lib/rustlib/src/rust/library=/core", tools.sysroot.display()),
    ];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    if let Some(core) = &tools.core {
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", core);
        flags.push(format!("--remap-path-prefix={}=/core", core.display()));
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));

    let Output { status, stderr, .. } = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&stderr);
        // Whoever changes the programs wants to see it; whoever only builds the probe still gets one.
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            println!("cargo::warning={line}");
        }
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
        return Err(format!("the kernel programs did not compile: {error}"));
    }
    Ok(folder.join(target).join("release/kafkascope-probe-ebpf"))
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn rustc() -> String {
    variable("RUSTC")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
