//! Whether `protocol` builds without an operating system.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{step, workspace};

const BARE_TARGET: &str = "wasm32-unknown-unknown";

/// Builds it for a target without one, if the toolchain has that. If not, it is put under a crate that defines a panic
/// handler of its own: the standard library, wherever it hides among the dependencies, would be a second one, which
/// the compiler refuses.
pub(super) fn protocol() -> Result<()> {
    let targets = step::answer(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    if targets.lines().any(|target| target == BARE_TARGET) {
        let mut build = workspace::cargo();
        build.args(["build", "--quiet", "--package", "kafkascope-protocol", "--target", BARE_TARGET]);
        return step::openly(&format!("cargo build --target {BARE_TARGET}"), &mut build);
    }
    println!("lint: {BARE_TARGET} is not installed, so std is shut out by a second panic handler instead");
    let folder = workspace::root().join("target/no-std");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let protocol = workspace::root().join("protocol");
    fs::write(
        folder.join("Cargo.toml"),
        format!(
            "[package]\nname = \"no-std\"\nedition = \"2024\"\n[workspace]\n[lib]\npath = \"lib.rs\"\n\
             [dependencies]\nkafkascope-protocol = {{ path = {protocol:?} }}\n"
        ),
    )?;
    fs::write(
        folder.join("lib.rs"),
        "#![no_std]\nextern crate kafkascope_protocol;\n\
         #[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! {\n    loop {}\n}\n",
    )?;
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut check = workspace::cargo();
    check.current_dir(&folder).args(["check", "--quiet", "--target-dir"]).arg(folder.join("target"));
    step::openly("cargo check without std", &mut check)
}
