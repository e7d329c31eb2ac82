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
            let fresh = libs.with_extension("new");
            for folder in [&libs, &fresh].into_iter().filter(|folder| folder.exists()) {
                fs::remove_dir_all(folder)?;
            }
            let mut maven = Command::new("mvn");
            maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]).arg(&pom);
            maven.arg(format!("-DoutputDirectory={}", fresh.display()));
            step::quietly(&format!("Fetching Apache Kafka {version}, 56 MB"), &mut maven)?;
            Ok(fs::rename(&fresh, &libs)?)
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
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"]);
        pip.arg(&folder).arg(KUBERNETES_VALIDATE);
        step::quietly("Fetching a checker of Kubernetes manifests, 5 MB", &mut pip)
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

/// Client programs in other languages: `clients/franz`, and kcat from the system.
pub(super) fn clients(absent: &mut Vec<Absent>) -> Result<()> {
    system::kcat(absent)?;
    if which("go").is_none() {
        absent.push(go_is_missing("the tests with the franz-go client are ignored"));
        return Ok(());
    }
    let folder = workspace::testbed().join("clients");
    fs::create_dir_all(&folder)?;
    let source = workspace::root().join("tests/clients/franz");
    let mut recipe = String::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        recipe += &fs::read_to_string(source.join(file)).with_context(|| format!("tests/clients/franz/{file}"))?;
    }
    let program = folder.join("franz");
    once(&program, &recipe, || {
        step::quietly("Building the franz-go client", go(&source).args(["build", "-trimpath", "-o"]).arg(&program))
    })
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
