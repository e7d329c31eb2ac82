//! Where things are: the workspace, and the testbed folder that `cargo xtask setup` fills.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The folder with everything that is fetched or built for tests, kept between runs: `$KAFKASCOPE_CACHE`, or
/// `target/testbed` in the workspace.
pub(crate) fn testbed() -> PathBuf {
    env::var_os("KAFKASCOPE_CACHE").map_or_else(|| root().join("target/testbed"), PathBuf::from)
}

/// Whether this is a machine of a continuous-integration service, where nothing may be left out.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Whether this program runs as root, by the owner of its own folder in /proc.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0)
}

/// A cargo command in the workspace: the same cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The full path of `program`, if the shell of an administrator would find it: that of others looks in no `sbin`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
