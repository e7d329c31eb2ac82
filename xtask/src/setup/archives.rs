//! Class archives: a broker with one starts in half the time, a Java tool in two thirds.
//!
//! The JVM writes them at the end of a run (`-XX:ArchiveClassesAtExit`), so one broker and one tool are run for it.
//! An archive is bound to the exact class path; the tests build theirs in the same way, sorted by name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Absent, KAFKA_VERSIONS, once, step};
use crate::workspace::{self, which};

/// A broker on a loaded machine may take half a minute to start, and as long to write its archive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes `broker.jsa` and `tool.jsa` beside the jars of each version. Without jars there is nothing to do.
pub(super) fn make(_absent: &mut Vec<Absent>) -> Result<()> {
    if which("java").is_none() {
        return Ok(());
    }
    for version in KAFKA_VERSIONS {
        let folder = workspace::testbed().join("kafka").join(version);
        let Ok(jars) = jars(&folder.join("libs")) else { continue };
        once(&folder.join("broker.jsa"), &jars, || {
            let title = format!("Making class archives for Apache Kafka {version}, half a minute");
            println!("{title} ...");
            let started = Instant::now();
            record(&folder, &jars).with_context(|| title.clone())?;
            println!("{title}: done in {:.0} s", started.elapsed().as_secs_f64());
            Ok(())
        })?;
    }
    Ok(())
}

fn jars(libs: &Path) -> Result<String> {
    let mut jars: Vec<PathBuf> = fs::read_dir(libs)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
    jars.sort();
    let names: Vec<_> = jars.iter().map(|path| path.to_string_lossy()).collect();
    Ok(names.join(":"))
}

fn record(folder: &Path, jars: &str) -> Result<()> {
    let run = folder.join("archive-run");
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    fs::create_dir_all(&run)?;
    let (port, controller) = (free_port()?, free_port()?);
    let properties = run.join("server.properties");
    fs::write(
        &properties,
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n",
            run.join("data").display()
        ),
    )?;
    let log = File::create(run.join("log"))?;
    let java = |archive: Option<&str>| {
        let mut java = Command::new("java");
        java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
        java.args(archive.map(|name| format!("-XX:ArchiveClassesAtExit={}", folder.join(name).display())));
        java.args(["-cp", jars]).stdin(Stdio::null());
        java
    };
    let logged = |mut command: Command| -> Result<Command> {
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(command)
    };

    let mut format = logged(java(None))?;
    format.args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"]).arg(&properties);
    finish(&mut format.spawn()?, "format")?;

    let mut broker = logged(java(Some("broker.new")))?;
    let mut broker = broker.arg("kafka.Kafka").arg(&properties).spawn()?;
    let outcome = (|| {
        wait_for_broker(port, &mut broker)?;
        let mut tool = logged(java(Some("tool.new")))?;
        tool.arg("org.apache.kafka.tools.TopicCommand").arg("--bootstrap-server").arg(format!("127.0.0.1:{port}"));
        finish(&mut tool.args(["--create", "--topic", "archive"]).spawn()?, "tool")
    })();
    if outcome.is_err() {
        broker.kill()?;
    } else {
        step::answer(Command::new("kill").arg(broker.id().to_string()))?;
    }
    let ended = finish(&mut broker, "broker");
    outcome?;
    // A broker that was asked to stop ends with 143 (128 + SIGTERM).
    ended.or_else(|error| if folder.join("broker.new").exists() { Ok(()) } else { Err(error) })?;
    fs::rename(folder.join("tool.new"), folder.join("tool.jsa"))?;
    fs::rename(folder.join("broker.new"), folder.join("broker.jsa"))?;
    Ok(fs::remove_dir_all(&run)?)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Ready is a broker that answers a request, here ApiVersions v0 without a client id.
fn wait_for_broker(port: u16, broker: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let asked = || -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
        Ok(stream.read_exact(&mut [0; 14])?)
    };
    while asked().is_err() {
        if let Some(status) = broker.try_wait()? {
            bail!("the broker ended: {status}");
        }
        if Instant::now() > deadline {
            bail!("the broker was not ready in {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn finish(child: &mut Child, what: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{what}: {status}"),
            None if Instant::now() > deadline => {
                child.kill()?;
                child.wait()?;
                bail!("{what}: not done in {} s", PATIENCE.as_secs());
            }
            None => thread::sleep(Duration::from_millis(100)),
        }
    }
}
