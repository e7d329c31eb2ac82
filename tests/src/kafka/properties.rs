//! The `server.properties` of a test broker.

use std::fmt::Write;

use super::{Broker, ClusterSpec, Version};

/// The text for `broker`. Later keys win in a properties file, so those of the specification come last.
pub(super) fn of(spec: &ClusterSpec, broker: &Broker, brokers: &[Broker]) -> String {
    let is_controller = broker.id == 1;
    let voters = brokers.iter().filter(|broker| broker.id == 1);
    let voters: Vec<_> = voters.map(|voter| format!("{}@{}", voter.id, voter.ports.controller.address())).collect();
    let replicas = spec.brokers.min(3).to_string();
    let ports = &broker.ports;
    let (direct, internal) = (ports.direct.address(), ports.internal.address());
    let mut listeners = format!("DIRECT://{direct},INTERNAL://{internal},PROXIED://{}", ports.proxied.address());
    if is_controller {
        listeners += &format!(",CONTROLLER://{}", ports.controller.address());
    }
    let id = broker.id.to_string();
    let data = broker.folder.join("data").display().to_string();
    let advertised = format!("DIRECT://{direct},INTERNAL://{internal},PROXIED://{}", ports.front.address());
    let standard = [
        ("node.id", id.as_str()),
        ("process.roles", if is_controller { "broker,controller" } else { "broker" }),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", &voters.join(",")),
        ("listeners", &listeners),
        ("advertised.listeners", &advertised),
        (
            "listener.security.protocol.map",
            "DIRECT:PLAINTEXT,INTERNAL:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "INTERNAL"),
        ("log.dirs", &data),
        ("num.partitions", "1"),
        ("default.replication.factor", &replicas),
        ("min.insync.replicas", "1"),
        ("offsets.topic.replication.factor", &replicas),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.replication.factor", &replicas),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "4"),
        ("group.initial.rebalance.delay.ms", "0"),
        // A dead broker is noticed soon.
        ("broker.session.timeout.ms", "6000"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("log.cleaner.dedupe.buffer.size", "4194304"),
    ];
    let of_version: &[(&str, &str)] = match spec.version {
        Version::V4 => &[
            ("share.coordinator.state.topic.replication.factor", &replicas),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("share.coordinator.state.topic.num.partitions", "4"),
        ],
        // KIP-848 was a preview in 3.9; Java clients of that version can use it.
        Version::V39 => &[
            ("group.coordinator.rebalance.protocols", "classic,consumer"),
            ("unstable.feature.versions.enable", "true"),
            ("unstable.api.versions.enable", "true"),
        ],
    };
    let more = spec.properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut text = String::new();
    for (key, value) in standard.into_iter().chain(of_version.iter().copied()).chain(more) {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{key}={value}");
    }
    text
}
