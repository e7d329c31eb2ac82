//! What deployments grant is what the probe asks for: no more, and nothing twice told differently.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kafkascope_probe::privileges::CAPABILITIES;

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn needed() -> BTreeSet<String> {
    CAPABILITIES.iter().map(|capability| capability.name.to_owned()).collect()
}

/// The items of the list below `add:`, up to the next key; comments stand between them.
fn added(manifest: &str) -> BTreeSet<String> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != "add:").skip(1);
    let list = lines.filter(|line| !line.starts_with('#')).map_while(|line| line.strip_prefix("- "));
    list.map(str::to_owned).collect()
}

#[test]
fn the_manifest_grants_what_the_probe_needs_and_no_more() {
    let manifest = deployed("kubernetes/probe.yaml");
    assert_eq!(added(&manifest), needed());
    assert!(manifest.contains("drop: [ALL]") && manifest.contains("privileged: false"));
    assert!(!deployed("kubernetes/proxy.yaml").contains("add:"), "the proxy needs none");
}

#[test]
fn the_unit_grants_what_the_probe_needs_and_no_more() {
    let unit = deployed("systemd/kafkascope-probe.service");
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        let granted = lines.next().unwrap_or_else(|| panic!("no {key}"));
        let granted: BTreeSet<_> = granted.split(' ').map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
        assert_eq!(granted, needed(), "{key}");
        assert_eq!(lines.count(), 0, "{key} more than once");
    }
}
