//! Where things are: the workspace, and the testbed folder that `cargo xtask setup` fills.

use std::env;
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

/// A cargo command in the workspace: the same cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The full path of `program`, if the shell would find it.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}
