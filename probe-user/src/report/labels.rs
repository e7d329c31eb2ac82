//! The attributes of what is reported on.

use std::sync::Arc;

use kafkascope_telemetry::{Attribute, AttributeValue as Value, Dictionary};

use crate::discovery::log_dirs::Partition;
use crate::discovery::{NodeId, Process, Role};
use crate::process::up::State;

/// Attributes, by name.
pub(crate) type Attributes = Vec<(Attribute, Value)>;

/// Those of a process.
pub(crate) fn of_process(process: &Process) -> Attributes {
    let mut attributes = vec![
        (Attribute::ProcessRole, role(&process.role)),
        (Attribute::ProcessName, Value::name(process.name.as_bytes())),
    ];
    if let Some(cluster) = &process.cluster {
        attributes.push((Attribute::Cluster, Value::name(cluster.as_bytes())));
    }
    // The number of a ZooKeeper server is none of a broker.
    if let (Some(NodeId(id)), Role::Broker | Role::Combined | Role::Controller) = (process.node, &process.role) {
        attributes.push((Attribute::BrokerId, Value::Integer(id.into())));
    }
    if let Some(container) = &process.cgroup.container {
        attributes.push((Attribute::ContainerId, Value::name(container.as_bytes())));
    }
    if let Some(pod) = &process.cgroup.pod {
        attributes.push((Attribute::PodUid, Value::name(pod.as_bytes())));
        if let Some(name) = &process.pod_name {
            attributes.push((Attribute::PodName, Value::name(name.as_bytes())));
        }
    }
    attributes
}

/// A topic's, and its partition's where that is wanted.
pub(crate) fn of_partition(
    partition: &Partition,
    cluster: Option<&Arc<str>>,
    with_number: bool,
    dictionary: &Dictionary,
) -> impl Iterator<Item = (Attribute, Value)> + use<> {
    let topic = (Attribute::Topic, dictionary.topic_named(cluster, partition.topic.as_bytes()));
    let numbered = with_number.then(|| (Attribute::Partition, number(partition)));
    [topic].into_iter().chain(numbered)
}

/// The conventions want a partition's number as text.
pub(crate) fn number(partition: &Partition) -> Value {
    Value::name(partition.number.to_string().as_bytes())
}

fn role(role: &Role) -> Value {
    match role {
        Role::Broker | Role::Combined => Value::Static("broker"),
        Role::Controller => Value::Static("controller"),
        Role::ZooKeeper => Value::Static("zookeeper"),
        Role::Proxy => Value::Static("proxy"),
        Role::Other(name) => Value::name(name.as_bytes()),
    }
}

/// Those of a process that may not be there.
pub(crate) fn of_name(state: &State) -> Attributes {
    let mut attributes = vec![(Attribute::ProcessName, Value::name(state.name.as_bytes()))];
    if let Some(role) = &state.role {
        attributes.push((Attribute::ProcessRole, self::role(role)));
    }
    if let Some(cluster) = &state.cluster {
        attributes.push((Attribute::Cluster, Value::name(cluster.as_bytes())));
    }
    if let Some(Role::Broker | Role::Combined | Role::Controller) = &state.role
        && let Some(id) = node_id(&state.name)
    {
        attributes.push((Attribute::BrokerId, Value::Integer(id)));
    }
    attributes
}

/// The name of a broker or controller is what discovery made of its node id: `broker-1`, and `broker-1.2` for one more.
fn node_id(name: &str) -> Option<i64> {
    let (_, id) = name.split_once('-')?;
    id.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_node_id_also_of_one_more_with_the_same() {
        let names = ["broker-1", "broker-12.2", "controller-3000", "broker", "broker-x"];
        assert_eq!(names.map(node_id), [Some(1), Some(12), Some(3000), None, None]);
    }
}
