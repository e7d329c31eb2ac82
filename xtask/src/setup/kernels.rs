//! Kernels to boot in a virtual machine, and what that takes: Debian's packages, unpacked side by side.
//!
//! The packages come from releases of Debian that this machine need not be. So they are looked up in lists of our own,
//! in `kernels/apt`; the machine's package state is neither read (but for where it gets packages from) nor changed.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::system::{self, Tool};
use super::{Absent, once, step};
use crate::workspace;

/// A line of kernels, of which the last one that Debian has is taken.
pub(crate) struct Line {
    /// What it is called here.
    pub(crate) name: &'static str,
    /// How the names of its packages begin.
    prefix: &'static str,
}

/// Two old ones that are widely run, the last two with long support, and what comes next.
pub(crate) const LINES: [Line; 5] = [
    Line { name: "5.10", prefix: "linux-image-5.10." },
    Line { name: "6.1", prefix: "linux-image-6.1." },
    Line { name: "6.12", prefix: "linux-image-6.12." },
    Line { name: "6.18", prefix: "linux-image-6.18." },
    Line { name: "newest", prefix: "linux-image-" },
];

/// Where Debian has these lines: the release, and whether its security updates are an archive of their own.
const RELEASES: [(&str, bool); 7] = [
    ("bullseye", false),
    ("bullseye-security", true),
    ("bookworm", false),
    ("bookworm-security", true),
    ("trixie", false),
    ("trixie-security", true),
    ("trixie-backports", false),
];

/// Made for virtual machines: the drivers that those need are built in, and little else is there.
const FLAVOUR: &str = "-cloud-amd64";

const CONSEQUENCE: &str = "the probe is not tried on other kernels";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// What `uname -r` will say.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// `lib/modules/RELEASE` of its packages.
    pub(crate) modules: PathBuf,
}

/// Sees to it that the programs and the kernels are there.
pub(super) fn provide(absent: &mut Vec<Absent>) -> Result<()> {
    let tool = |program, package| Tool { program, package, consequence: CONSEQUENCE };
    system::ensure(
        &[
            tool("qemu-system-x86_64", "qemu-system-x86"),
            tool("busybox", "busybox-static"),
            tool("mkfs.ext4", "e2fsprogs"),
            Tool { program: "nft", package: "nftables", consequence: "no segment is lost on purpose" },
        ],
        absent,
    )?;
    let mut archive: Option<Archive> = None;
    for line in &LINES {
        let made = once(&folder(line), &format!("{} {RELEASES:?}", line.prefix), || {
            if archive.is_none() {
                archive = Some(Archive::open()?);
            }
            archive.as_ref().context("no archive")?.unpack(line)
        });
        if let Err(error) = made {
            absent.push(Absent {
                what: format!("kernel {}: {error:#}", line.name),
                remedy: "It comes from Debian's packages, on Debian".to_owned(),
                consequence: "the probe is not tried on it",
            });
        }
    }
    // Lists age, and are most of what was fetched.
    if let Some(archive) = archive {
        fs::remove_dir_all(archive.folder)?;
    }
    Ok(())
}

/// The kernel of a line, if set-up could get it.
pub(crate) fn kernel(line: &Line) -> Result<Kernel> {
    let folder = folder(line);
    let release = fs::read_to_string(folder.join("release")).ok().context("set-up could not get it")?;
    let image = folder.join("vmlinuz");
    Ok(Kernel { image, modules: folder.join("modules"), release })
}

fn folder(line: &Line) -> PathBuf {
    workspace::testbed().join("kernels").join(line.name.replace('.', "_"))
}

/// Lists of packages, and where they come from.
struct Archive {
    folder: PathBuf,
    packages: Vec<String>,
}

impl Archive {
    fn open() -> Result<Self> {
        let folder = workspace::testbed().join("kernels/apt");
        for needed in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(needed))?;
        }
        fs::write(folder.join("sources.list"), sources()?)?;
        let mut archive = Self { folder, packages: Vec::new() };
        // Of several releases one may be gone. What counts is which packages are known afterwards.
        let _some_may_be_gone =
            step::quietly("Reading Debian's lists of kernels, 40 MB", archive.apt("apt-get").arg("update")).is_ok();
        let names = step::answer(archive.apt("apt-cache").args(["pkgnames", "linux-"]))?;
        archive.packages = names.lines().map(str::to_owned).collect();
        Ok(archive)
    }

    /// A command that keeps its state in our folder.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, path) in [
            ("Dir::Etc::SourceList", self.folder.join("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State::Lists", self.folder.join("lists")),
            ("Dir::Cache", self.folder.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // The user that apt else changes to cannot write here.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        command
    }

    fn unpack(&self, line: &Line) -> Result<()> {
        let known = self.packages.iter().map(String::as_str);
        let of_line = |name: &&str| {
            let version = name.strip_prefix("linux-image-");
            name.starts_with(line.prefix)
                && version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        };
        let images = known.filter(|name| of_line(name) && name.ends_with(FLAVOUR));
        let image =
            images.max_by(|one, other| by_version(one, other)).context("no release of Debian has it any more")?;
        let release = image.strip_prefix("linux-image-").unwrap_or(image);
        // Recent ones are split, and what is called image holds nothing.
        let parts = ["image", "binary", "modules"].map(|part| format!("linux-{part}-{release}"));
        let parts: Vec<_> = parts.into_iter().filter(|part| self.packages.contains(part)).collect();

        let fresh = folder(line).with_extension("new");
        for folder in [&fresh, &folder(line)].into_iter().filter(|folder| folder.exists()) {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(&fresh)?;
        let mut download = self.apt("apt-get");
        step::quietly(
            &format!("Fetching kernel {release}, 20 to 50 MB"),
            download.current_dir(&fresh).arg("download").args(&parts),
        )?;
        let tree = fresh.join("tree");
        for entry in fs::read_dir(&fresh)? {
            let package = entry?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                step::answer(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
                fs::remove_file(&package)?;
            }
        }
        let first = |candidates: [String; 2]| {
            let mut paths = candidates.into_iter().map(|path| tree.join(path));
            paths.find(|path| path.exists()).with_context(|| format!("{release} is packed in an unknown way"))
        };
        let vmlinuz = first([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")])?;
        fs::copy(vmlinuz, fresh.join("vmlinuz"))?;
        fs::rename(
            first([format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")])?,
            fresh.join("modules"),
        )?;
        fs::remove_dir_all(&tree)?;
        fs::write(fresh.join("release"), release)?;
        Ok(fs::rename(&fresh, folder(line))?)
    }
}

/// Package sources at the place where this machine gets Debian from.
fn sources() -> Result<String> {
    let format = "$(LABEL) $(REPO_URI)";
    let targets =
        step::answer(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]));
    let targets = targets.context("no apt-get")?;
    let place = |label: &str| {
        let mut places = targets.lines().filter_map(|line| line.split_once(' '));
        places.find(|(of, _)| *of == label).map(|(_, place)| place.to_owned())
    };
    let Some(main) = place("Debian") else { bail!("this machine gets no packages from Debian") };
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let signed =
        if Path::new(key).exists() { format!("[signed-by={key} arch=amd64]") } else { "[arch=amd64]".to_owned() };
    let lines = RELEASES.iter().filter_map(|(release, security)| {
        let place = if *security { place("Debian-Security")? } else { main.clone() };
        Some(format!("deb {signed} {place} {release} main\n"))
    });
    Ok(lines.collect())
}

/// Orders package names of one line by the numbers in them.
fn by_version(one: &str, other: &str) -> Ordering {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backport_is_older_than_the_same_line_at_home() {
        let mut names = [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
        ];
        names.sort_by(|one, other| by_version(one, other));
        assert_eq!(names[2], "linux-image-6.1.0-56-cloud-amd64");
    }
}
