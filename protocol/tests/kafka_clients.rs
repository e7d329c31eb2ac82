//! Our knowledge against Kafka's own: the schemas inside the kafka-clients jars, and frames made by its classes.
//!
//! The jars come by `cargo xtask setup` into `$KAFKASCOPE_CACHE` or `target/testbed`. Where they (or Java) are missing, a
//! case is reported as ignored with the reason.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kafkascope_protocol::{APIS, ApiKey, ApiVersion};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use support::vectors;

const OLD: &str = "3.9.2";
const NEW: &str = "4.3.1";

fn main() -> ExitCode {
    let tests = vec![
        Trial::ignorable_test("the_table_knows_every_key_and_version_of_kafka_3_9_2", || table_covers(OLD)),
        Trial::ignorable_test("the_table_knows_every_key_and_version_of_kafka_4_3_1", || table_covers(NEW)),
        Trial::ignorable_test("the_table_invents_nothing", table_invents_nothing),
        Trial::ignorable_test("what_4_0_removed_is_what_3_9_2_has_and_4_3_1_lacks", what_4_0_removed),
        Trial::ignorable_test("the_committed_frames_are_what_java_makes_of_kafka_3_9_2", || {
            committed_frames(OLD, "Vectors.java", vectors::OLD)
        }),
        Trial::ignorable_test("the_committed_frames_are_what_java_makes_of_kafka_4_3_1", || {
            committed_frames(NEW, "NewVectors.java", vectors::NEW)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// What a schema says of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schema {
    name: String,
    /// Oldest and newest version; `None` for an API that was removed.
    versions: Option<(i16, i16)>,
    first_flexible: Option<i16>,
}

fn table_covers(kafka: &str) -> Result<Completion, Failed> {
    let Some(jar) = jar(kafka) else { return Ok(no_jars(kafka)) };
    let (requests, responses) = (schemas(&jar, "request")?, schemas(&jar, "response")?);
    if requests.len() < 80 {
        return Err(format!("only {} schemas in {}", requests.len(), jar.display()).into());
    }
    for (key, schema) in &requests {
        let Some((oldest, newest)) = schema.versions else { continue };
        let info = ApiKey(*key).info().ok_or_else(|| format!("no entry for {key} {schema:?}"))?;
        if info.min_version > oldest || info.max_version < newest {
            return Err(format!("{key}: {info:?} lacks versions of {schema:?}").into());
        }
        if info.first_flexible != schema.first_flexible {
            return Err(format!("{key}: {info:?} is not flexible as {schema:?}").into());
        }
        let named = info.name == schema.name || (*key == 74 && schema.name == "ListClientMetricsResources");
        if !named {
            return Err(format!("{key}: {info:?} is not named as {schema:?}").into());
        }
        let response = responses.get(key).ok_or_else(|| format!("no response schema for {key}"))?;
        if response.first_flexible != schema.first_flexible {
            return Err(format!("{key}: the table has one first flexible version, but {response:?}").into());
        }
    }
    Ok(Completion::Completed)
}

fn table_invents_nothing() -> Result<Completion, Failed> {
    let mut known: BTreeMap<i16, (i16, i16)> = BTreeMap::new();
    for kafka in [OLD, NEW] {
        let Some(jar) = jar(kafka) else { return Ok(no_jars(kafka)) };
        for (key, schema) in schemas(&jar, "request")? {
            let Some((oldest, newest)) = schema.versions else { continue };
            let range = known.entry(key).or_insert((oldest, newest));
            *range = (range.0.min(oldest), range.1.max(newest));
        }
    }
    let table: BTreeMap<i16, (i16, i16)> =
        APIS.iter().map(|info| (info.key.0, (info.min_version, info.max_version))).collect();
    if table == known { Ok(Completion::Completed) } else { Err(format!("{table:?} is not {known:?}").into()) }
}

fn what_4_0_removed() -> Result<Completion, Failed> {
    let Some((old, new)) = jar(OLD).zip(jar(NEW)) else { return Ok(no_jars(OLD)) };
    let (old, new) = (schemas(&old, "request")?, schemas(&new, "request")?);
    let (mut removed, mut wrong) = (0, Vec::new());
    for (key, schema) in &old {
        // Share groups (KIP-932) were no part of 3.9: the early version in its jar was served by 4.0 and went with 4.1.
        let Some((oldest, newest)) = schema.versions.filter(|_| !(76..=79).contains(key)) else { continue };
        let kept = new.get(key).and_then(|schema| schema.versions).map_or(i16::MAX, |(oldest, _)| oldest);
        for version in oldest..=newest {
            let gone = version < kept;
            removed += u32::from(gone);
            if ApiKey(*key).is_removed_in_4_0(ApiVersion(version)) != gone {
                wrong.push(format!("{} ({key}) v{version}", schema.name));
            }
        }
    }
    if removed > 20 && wrong.is_empty() {
        Ok(Completion::Completed)
    } else {
        Err(format!("{removed} versions were removed; {wrong:?} are not as the table says").into())
    }
}

fn committed_frames(kafka: &str, source: &str, committed: &'static str) -> Result<Completion, Failed> {
    let Some(jar) = jar(kafka) else { return Ok(no_jars(kafka)) };
    let libs = jar.parent().ok_or("a jar without a folder")?.join("*");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java").join(source);
    let output = match Command::new("java").arg("-cp").arg(libs).arg(path).output() {
        Ok(output) => output,
        Err(error) => return Ok(Completion::ignored_with(format!("java cannot be run: {error}"))),
    };
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let made = String::from_utf8_lossy(&output.stdout);
    let mut made = made.lines();
    for (name, frame) in vectors::all(committed) {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("{name} {hex}");
        if made.next() != Some(expected.as_str()) {
            return Err(format!("{name} differs: write the output of java/{source} to its file in fixtures").into());
        }
    }
    match made.next() {
        None => Ok(Completion::Completed),
        Some(more) => Err(format!("not committed: {more}").into()),
    }
}

fn no_jars(kafka: &str) -> Completion {
    Completion::ignored_with(format!("no kafka-clients-{kafka}.jar in {}: run cargo xtask setup", testbed().display()))
}

fn testbed() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    env::var_os("KAFKASCOPE_CACHE").map_or_else(|| workspace.join("target/testbed"), PathBuf::from)
}

fn jar(kafka: &str) -> Option<PathBuf> {
    let libs = testbed().join("kafka").join(kafka).join("libs");
    let wanted = format!("kafka-clients-{kafka}.jar");
    fs::read_dir(libs).ok()?.filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.ends_with(&wanted))
}

/// The schemas of one kind in a jar, by API key.
fn schemas(jar: &Path, kind: &str) -> Result<BTreeMap<i16, Schema>, Failed> {
    let mut archive = zip::ZipArchive::new(File::open(jar)?)?;
    let mut schemas = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if !(name.starts_with("common/message/") && name.ends_with(".json")) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let schema: Value =
            serde_json::from_str(&without_comments(&text)).map_err(|error| format!("{name}: {error}"))?;
        if schema["type"] != kind {
            continue;
        }
        let key = schema["apiKey"].as_i64().and_then(|key| i16::try_from(key).ok()).ok_or("no key")?;
        let title = schema["name"].as_str().ok_or("no name")?;
        let title = title.strip_suffix("Request").or_else(|| title.strip_suffix("Response")).unwrap_or(title);
        schemas.insert(
            key,
            Schema {
                name: title.to_owned(),
                versions: versions(&schema["validVersions"])?,
                first_flexible: versions(&schema["flexibleVersions"])?.map(|(first, _)| first),
            },
        );
    }
    Ok(schemas)
}

/// Comments stand on lines of their own.
fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `3-13`, `0`, `9+`, `none`, or no such field.
fn versions(value: &Value) -> Result<Option<(i16, i16)>, Failed> {
    let Some(text) = value.as_str().filter(|text| *text != "none") else { return Ok(None) };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first, last.parse()?),
        None if text.ends_with('+') => (text.trim_end_matches('+'), i16::MAX),
        None => (text, text.parse()?),
    };
    Ok(Some((first.parse()?, last)))
}
