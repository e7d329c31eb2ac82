//! Kernel modules that a guest loads, in an order in which none is missed by a later one.
//!
//! Packages hold no `modules.dep`: that is made when they are installed. So dependencies are read from the modules.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A disk, and what a file system on it asks for; a filter that loses segments; what tells about sockets.
///
/// What a kernel has no module of is built into it, or does not exist there.
const WANTED: [&str; 13] = [
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "nf_tables",
    "nft_numgen",
    "nft_counter",
    "veth",
    "inet_diag",
    "tcp_diag",
    "unix_diag",
    "netlink_diag",
    "sch_ingress",
];

/// A module's name, and its content as `insmod` takes it.
pub(super) type Module = (String, Vec<u8>);

/// The wanted ones below `folder`, each after those that it needs.
pub(super) fn in_order(folder: &Path) -> Result<Vec<Module>> {
    let mut paths = HashMap::new();
    find(folder, &mut paths)?;
    let mut order = Order { paths, modules: Vec::new() };
    for name in WANTED {
        order.add(name).with_context(|| format!("module {name}"))?;
    }
    Ok(order.modules)
}

struct Order {
    /// Those that have not been added yet, by name.
    paths: HashMap<String, PathBuf>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        let Some(path) = self.paths.remove(&normal(name)) else { return Ok(()) };
        let content = read(&path)?;
        for needed in needed(&content) {
            self.add(&needed)?;
        }
        self.modules.push((normal(name), content));
        Ok(())
    }
}

/// What the module says that it needs, and what it asks to be loaded before.
fn needed(module: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for (key, separator) in [("depends=", ','), ("softdep=pre: ", ' ')] {
        for (at, _) in module.windows(key.len()).enumerate().filter(|(_, window)| *window == key.as_bytes()) {
            let value = module.get(at + key.len()..).unwrap_or_default();
            let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let value = String::from_utf8_lossy(value);
            names.extend(value.split(separator).filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    names
}

fn find(folder: &Path, paths: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        // Packages link to sources that are not there.
        if entry.file_type()?.is_dir() {
            find(&entry.path(), paths)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            paths.insert(normal(name), entry.path());
        }
    }
    Ok(())
}

/// Files are named with hyphens where modules are named with underscores.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "ko") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let busybox = workspace::which("busybox").context("no busybox")?;
    let output = Command::new(busybox).args(["xz", "-dc"]).arg(path).output()?;
    if !output.status.success() {
        bail!("cannot decompress {}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_module_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=nf_tables,libcrc32c\0softdep=pre: crc32c\0name=nft_x\0";
        assert_eq!(needed(module), ["nf_tables", "libcrc32c", "crc32c"]);
        assert!(needed(b"\0depends=\0").is_empty());
    }
}
