//! What stands between the clients and the sink.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

/// A way from the clients to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No proxy.
    Direct,
    /// HAProxy as it comes: buffers of 16 KiB.
    Haproxy,
    /// HAProxy with buffers of 64 KiB.
    Haproxy64k,
    /// HAProxy that splices both ways, through pipes of 64 KiB as it makes them.
    HaproxySplice,
    /// The same through pipes of 1 MiB, as kafkascope's: the best that HAProxy can be made to do.
    HaproxySplice1m,
    /// kafkascope, everything on: decoding, metrics, sampled spans, OTLP export each second, admin server.
    Kafkascope,
    /// kafkascope that only forwards: `--observe none`.
    KafkascopeNone,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Haproxy,
        Self::Haproxy64k,
        Self::HaproxySplice,
        Self::HaproxySplice1m,
        Self::Kafkascope,
        Self::KafkascopeNone,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "HAProxy",
            Self::Haproxy64k => "HAProxy 64 KiB",
            Self::HaproxySplice => "HAProxy splice",
            Self::HaproxySplice1m => "HAProxy splice, 1 MiB pipes",
            Self::Kafkascope => "kafkascope",
            Self::KafkascopeNone => "kafkascope, observe none",
        }
    }
}

/// What targets need to know.
#[derive(Debug)]
pub struct Surroundings {
    /// The program under test.
    pub proxy: PathBuf,
    /// For configuration files and logs.
    pub folder: PathBuf,
    /// Where the sink listens.
    pub sink: SocketAddr,
    /// Where OTLP is received over HTTP.
    pub otlp: SocketAddr,
}

/// A running target. Ends when dropped.
#[derive(Debug)]
pub struct Target {
    pub kind: Kind,
    /// Where clients connect to.
    pub address: SocketAddr,
    /// Where the admin server is, if there is one.
    pub admin: Option<SocketAddr>,
    child: Option<Child>,
}

impl Target {
    /// Starts it and waits until it accepts connections.
    pub fn start(kind: Kind, around: &Surroundings) -> Result<Self> {
        if kind == Kind::Direct {
            return Ok(Self { kind, address: around.sink, admin: None, child: None });
        }
        let address = free_address()?;
        let admin = (kind == Kind::Kafkascope).then(free_address).transpose()?;
        let log =
            fs::File::create(around.folder.join(format!("{}-{}.log", kind.title().replace(' ', "-"), address.port())))?;
        let child = command(kind, address, admin, around)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", kind.title()))?;
        let mut target = Self { kind, address, admin, child: Some(child) };
        target.await_listening(&around.folder)?;
        Ok(target)
    }

    /// Its first process, if it has one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn await_listening(&mut self, logs: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("{} ended with {status}; its log is in {}", self.kind.title(), logs.display());
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen; its log is in {}", self.kind.title(), logs.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already; then there is nothing to do.
            if child.kill().is_ok() && child.wait().is_err() {
                eprintln!("{} could not be awaited", self.kind.title());
            }
        }
    }
}

/// All run with one worker thread, so that what is compared is the work and not how it is spread.
fn command(kind: Kind, address: SocketAddr, admin: Option<SocketAddr>, around: &Surroundings) -> Result<Command> {
    if matches!(kind, Kind::Haproxy | Kind::Haproxy64k | Kind::HaproxySplice | Kind::HaproxySplice1m) {
        let path = around.folder.join(format!("haproxy-{}.cfg", address.port()));
        fs::write(&path, haproxy_configuration(kind, address, around.sink)?)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(path);
        return Ok(command);
    }
    let mut command = Command::new(&around.proxy);
    command.arg("--route").arg(format!("{address}={}", around.sink)).args(["--workers", "1"]);
    command.args(["--max-connections", "6000"]);
    match admin {
        Some(admin) => {
            command.arg("--admin").arg(admin.to_string());
            command.arg("--otlp-endpoint").arg(format!("http://{}", around.otlp));
            command.args(["--otlp-protocol", "http/protobuf", "--export-interval", "1s"]);
        }
        None => {
            command.args(["--observe", "none"]);
        }
    }
    Ok(command)
}

fn haproxy_configuration(kind: Kind, address: SocketAddr, sink: SocketAddr) -> Result<String> {
    let mut text = String::from("global\n  nbthread 1\n  maxconn 6000\n");
    match kind {
        Kind::Haproxy64k => text.push_str("  tune.bufsize 65536\n"),
        Kind::HaproxySplice1m => text.push_str("  tune.pipesize 1048576\n"),
        _ => {}
    }
    text.push_str("defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n");
    if matches!(kind, Kind::HaproxySplice | Kind::HaproxySplice1m) {
        text.push_str("  option splice-request\n  option splice-response\n");
    }
    write!(text, "listen kafka\n  bind {address}\n  server sink {sink}\n")?;
    Ok(text)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
