//! What is fetched by Maven and built from Go modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Absent, KAFKA_VERSIONS, once, step, system};
use crate::workspace::{self, which};

/// The collector builder that goes with `tests/collector/manifest.yaml`.
const COLLECTOR_BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.161.0";

/// The checker of licences and sources.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// The checker of Kubernetes manifests.
const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";

/// The jars of each Kafka version: `kafka/VERSION/libs`.
pub(super) fn kafka(absent: &mut Vec<Absent>) -> Result<()> {
    if which("mvn").is_none() || which("java").is_none() {
        absent.push(Absent {
            what: "Apache Kafka (needs java and mvn)".to_owned(),
            remedy: "On Debian or Ubuntu: apt-get install openjdk-17-jdk-headless maven".to_owned(),
            consequence: "the tests against Apache Kafka are ignored",
        });
        return Ok(());
    }
    for version in KAFKA_VERSIONS {
        let pom = workspace::root().join("tests/kafka").join(version).join("pom.xml");
        let libs = workspace::testbed().join("kafka").join(version).join("libs");
        once(&libs, &fs::read_to_string(&pom)?, || {
            afresh(&libs, |fresh| {
                let mut maven = Command::new("mvn");
                maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]).arg(&pom);
                maven.arg(format!("-DoutputDirectory={}", fresh.display()));
                step::quietly(&format!("Fetching Apache Kafka {version}, 56 MB"), &mut maven)
            })
        })?;
    }
    Ok(())
}

/// The OpenTelemetry collector: `collector/otelcol`.
pub(super) fn collector(absent: &mut Vec<Absent>) -> Result<()> {
    if which("go").is_none() {
        absent.push(go_is_missing("the tests with a real collector are ignored"));
        return Ok(());
    }
    let folder = workspace::testbed().join("collector");
    fs::create_dir_all(&folder)?;
    let manifest = fs::read_to_string(workspace::root().join("tests/collector/manifest.yaml"))?;
    once(&folder.join("otelcol"), &manifest, || {
        let mut install = go(&folder);
        step::quietly(
            "Fetching the collector builder",
            install.env("GOBIN", &folder).args(["install", COLLECTOR_BUILDER]),
        )?;
        fs::write(folder.join("manifest.yaml"), &manifest)?;
        let mut build = Command::new(folder.join("builder"));
        build.current_dir(&folder).arg("--config=manifest.yaml").env("GOTOOLCHAIN", "local");
        step::quietly("Building an OpenTelemetry collector, about two minutes", &mut build)?;
        Ok(fs::rename(folder.join("build/otelcol"), folder.join("otelcol"))?)
    })
}

/// Where cargo-deny is once it has been built.
pub(crate) fn cargo_deny() -> PathBuf {
    workspace::testbed().join("cargo-deny/bin/cargo-deny")
}

/// The checker of licences and sources.
pub(super) fn build_cargo_deny(absent: &mut Vec<Absent>) -> Result<()> {
    let install = || {
        let mut install = workspace::cargo();
        install
            .args(["install", "--quiet", "--locked", CARGO_DENY, "--root"])
            .arg(workspace::testbed().join("cargo-deny"));
        step::quietly("Building cargo-deny, about two minutes", &mut install)
    };
    if once(&cargo_deny(), CARGO_DENY, install).is_err() {
        absent.push(Absent {
            what: "cargo-deny".to_owned(),
            remedy: format!("cargo install --locked {CARGO_DENY}"),
            consequence: "licences and sources of dependencies are not checked",
        });
    }
    Ok(())
}

/// Where the checker of Kubernetes manifests is once it has been fetched: a folder of Python modules.
pub(crate) fn kubernetes_validate() -> PathBuf {
    workspace::testbed().join("kubernetes-validate")
}

/// The checker of Kubernetes manifests, which brings Kubernetes' own schemas along.
pub(super) fn fetch_kubernetes_validate(absent: &mut Vec<Absent>) -> Result<()> {
    let folder = kubernetes_validate();
    let install = || {
        let title = "Fetching a checker of Kubernetes manifests, 5 MB";
        afresh(&folder, |fresh| step::quietly(title, pip_install(fresh).arg(KUBERNETES_VALIDATE)))
    };
    if once(&folder, KUBERNETES_VALIDATE, install).is_err() {
        absent.push(Absent {
            what: "kubernetes-validate".to_owned(),
            remedy: format!("It comes by python3 -m pip install {KUBERNETES_VALIDATE}"),
            consequence: "the Kubernetes manifests are not checked",
        });
    }
    Ok(())
}

/// Client programs in other languages: kcat from the system, and what goes with the sources in `tests/clients`.
pub(super) fn clients(absent: &mut Vec<Absent>) -> Result<()> {
    fs::create_dir_all(workspace::testbed().join("clients"))?;
    system::kcat(absent)?;
    franz(absent)?;
    kafka_python(absent)?;
    kafkajs(absent)
}

/// The client on franz-go: `clients/franz`.
fn franz(absent: &mut Vec<Absent>) -> Result<()> {
    if which("go").is_none() {
        absent.push(go_is_missing("the tests with the franz-go client are ignored"));
        return Ok(());
    }
    let (source, program) = (sources("franz"), workspace::testbed().join("clients/franz"));
    once(&program, &recipe(&source, &["go.mod", "go.sum", "main.go"])?, || {
        step::quietly("Building the franz-go client", go(&source).args(["build", "-trimpath", "-o"]).arg(&program))
    })
}

/// kafka-python, with its codecs: `clients/python`, a folder of Python modules.
fn kafka_python(absent: &mut Vec<Absent>) -> Result<()> {
    system::pip("the tests with kafka-python are ignored", absent)?;
    if which("pip3").is_none() {
        return Ok(());
    }
    let (source, folder) = (sources("python"), workspace::testbed().join("clients/python"));
    once(&folder, &recipe(&source, &["requirements.txt"])?, || {
        afresh(&folder, |fresh| {
            let mut pip = pip_install(fresh);
            step::quietly("Fetching kafka-python", pip.arg("--requirement").arg(source.join("requirements.txt")))
        })
    })
}

/// KafkaJS, with its codecs: `clients/javascript/node_modules`.
fn kafkajs(absent: &mut Vec<Absent>) -> Result<()> {
    if which("npm").is_none() {
        absent.push(Absent {
            what: "npm".to_owned(),
            remedy: "Get Node.js 20 or newer".to_owned(),
            consequence: "the tests with KafkaJS are ignored",
        });
        return Ok(());
    }
    let (source, folder) = (sources("javascript"), workspace::testbed().join("clients/javascript"));
    let files = ["package.json", "package-lock.json"];
    once(&folder, &recipe(&source, &files)?, || {
        afresh(&folder, |fresh| {
            fs::create_dir(fresh)?;
            for file in files {
                fs::copy(source.join(file), fresh.join(file))?;
            }
            let mut npm = Command::new("npm");
            step::quietly("Fetching KafkaJS", npm.current_dir(fresh).args(["ci", "--no-audit", "--no-fund"]))
        })
    })
}

fn sources(client: &str) -> PathBuf {
    workspace::root().join("tests/clients").join(client)
}

/// What a client is made from.
fn recipe(source: &Path, files: &[&str]) -> Result<String> {
    let read = |file: &&str| {
        let path = source.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    files.iter().map(read).collect()
}

/// Makes a folder elsewhere first, so that it is there only when it is whole.
fn afresh(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = folder.with_extension("new");
    for folder in [folder, &fresh].into_iter().filter(|folder| folder.exists()) {
        fs::remove_dir_all(folder)?;
    }
    make(&fresh)?;
    Ok(fs::rename(&fresh, folder)?)
}

/// What puts Python modules into a folder.
fn pip_install(folder: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"])
        .arg(folder);
    pip
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    // A Go that is too old shall say so, not fetch another one.
    command.current_dir(folder).env("GOTOOLCHAIN", "local").env("GOWORK", "off").env("CGO_ENABLED", "0");
    command
}

fn go_is_missing(consequence: &'static str) -> Absent {
    Absent { what: "go".to_owned(), remedy: "Get Go 1.26 or newer (Debian's is too old)".to_owned(), consequence }
}
