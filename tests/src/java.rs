//! Kafka's own command-line programs, and small Java programs of ours against its jars.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::eventually::eventually;
use crate::kafka::Version;
use crate::process;
use crate::testbed;

/// A Java program, ready to run.
#[derive(Debug)]
pub struct Tool {
    name: String,
    command: Command,
}

impl Tool {
    /// A class in the jars of `version`, such as `org.apache.kafka.tools.ProducerPerformance`.
    pub fn class(version: Version, class: &str) -> Result<Self> {
        let class_path = class_path(version)?;
        Ok(Self::launch(version, &class_path, class))
    }

    /// A program of ours in one source file, compiled against the jars of `version` when it is new or has changed.
    pub fn source(version: Version, source: &Path) -> Result<Self> {
        let class = source.file_stem().and_then(|stem| stem.to_str()).context("not a Java source")?;
        let jars = class_path(version)?;
        let classes = compile(version, source, class, &jars)?;
        // Behind the jars, so that the class archive, which wants the same beginning, stays of use.
        Ok(Self::launch(version, &format!("{jars}:{}", classes.display()), class))
    }

    fn launch(version: Version, class_path: &str, class: &str) -> Self {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
        command.args(archive(version, "tool.jsa"));
        command.arg(log_configuration(version)).args(["-cp", class_path, class]);
        Self { name: class.rsplit('.').next().unwrap_or(class).to_owned(), command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// The command, for who wants to run it in another way.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end and gives what it printed; an error if it fails or takes longer than `limit`.
    pub fn run(self, limit: Duration) -> Result<String> {
        run(&self.name, &self.command, limit)
    }
}

/// Runs any command to its end and gives what it printed; an error if it fails or takes longer than `limit`.
pub fn run(name: &str, command: &Command, limit: Duration) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut tied = process::tied(command);
    tied.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
    let mut child = process::spawn(tied).with_context(|| format!("cannot start {name}"))?;
    let status = eventually(&format!("the end of {name}"), limit, || Ok(child.try_wait()?));
    let output =
        Output { status: status.as_ref().copied().unwrap_or_default(), stdout: fs::read(out)?, stderr: fs::read(err)? };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    match status {
        Ok(status) if status.success() => Ok(said),
        Ok(status) => bail!("{name}: {status}\n{said}\n{complained}"),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error.context(format!("{said}\n{complained}")))
        }
    }
}

/// The jars of `version`, sorted: a class archive is of use only with exactly the class path it was made with.
pub fn class_path(version: Version) -> Result<String> {
    let libs = folder(version).join("libs");
    let entries = fs::read_dir(&libs).with_context(|| format!("no jars in {} (cargo xtask setup)", libs.display()))?;
    let mut jars: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
    jars.sort();
    let names: Vec<_> = jars.iter().map(|path| path.to_string_lossy()).collect();
    Ok(names.join(":"))
}

/// The flag that makes the JVM use a class archive, if there is one.
pub(crate) fn archive(version: Version, name: &str) -> Option<String> {
    let path = folder(version).join(name);
    path.exists().then(|| format!("-XX:SharedArchiveFile={}", path.display()))
}

/// The flag that makes Kafka's log go to stderr.
pub(crate) fn log_configuration(version: Version) -> String {
    let folder = testbed::workspace().join("tests/kafka").join(version.number());
    match version {
        Version::V4 => format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()),
        Version::V39 => format!("-Dlog4j.configuration=file:{}", folder.join("log4j.properties").display()),
    }
}

fn folder(version: Version) -> PathBuf {
    testbed::root().join("kafka").join(version.number())
}

/// Compiles into a folder of this source's own, and gives that.
fn compile(version: Version, source: &Path, class: &str, jars: &str) -> Result<PathBuf> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    let classes = folder(version).join("classes").join(class);
    if fs::read_to_string(classes.join("source")).is_ok_and(|compiled| compiled == text) {
        return Ok(classes);
    }
    fs::create_dir_all(folder(version).join("classes"))?;
    let fresh = tempfile::tempdir_in(folder(version).join("classes"))?;
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-proc:none", "-cp", jars, "-d"]).arg(fresh.path()).arg(source);
    run("javac", &javac, Duration::from_secs(120))?;
    fs::write(fresh.path().join("source"), text)?;
    let fresh = fresh.keep();
    if fs::rename(&fresh, &classes).is_err() {
        // An older one is in the way, or somebody else was quicker: theirs is of the same source or will be replaced.
        fs::remove_dir_all(&classes).ok();
        fs::rename(&fresh, &classes).with_context(|| format!("cannot make {}", classes.display()))?;
    }
    Ok(classes)
}
