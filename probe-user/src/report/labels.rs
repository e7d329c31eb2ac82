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
    attributes.extend(broker_id(&process.role, process.node));
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
    attributes.extend(state.role.as_ref().and_then(|role| broker_id(role, state.node)));
    attributes
}

/// The number of a ZooKeeper server is none of a broker.
fn broker_id(role: &Role, node: Option<NodeId>) -> Option<(Attribute, Value)> {
    let is_kafka = matches!(role, Role::Broker | Role::Combined | Role::Controller);
    node.filter(|_| is_kafka).map(|NodeId(id)| (Attribute::BrokerId, Value::Integer(id.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_be_there_has_its_broker_id_also_as_one_more_with_the_same_name() {
        let id = |name: &str, role, node: Option<i32>| {
            let (name, node) = (name.to_owned(), node.map(NodeId));
            let state = State { name, cluster: None, role, node, up: false, listening: Vec::new(), restarts: 0 };
            let id = of_name(&state).into_iter().find(|(key, _)| *key == Attribute::BrokerId);
            id.map(|(_, value)| value.scalar().to_string())
        };
        assert_eq!(id("broker-1", Some(Role::Broker), Some(1)).as_deref(), Some("1"));
        assert_eq!(id("broker-12.2", Some(Role::Combined), Some(12)).as_deref(), Some("12"));
        assert_eq!(id("controller-3000", Some(Role::Controller), Some(3000)).as_deref(), Some("3000"));
        assert_eq!(id("broker", Some(Role::Broker), None), None);
        assert_eq!(id("zookeeper-1", Some(Role::ZooKeeper), Some(1)), None);
        assert_eq!(id("broker-9", None, None), None);
    }
}
