//! Lag, skips, commits and groups beside what Kafka's own tools say of them, with one proxy and with one for each broker.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::groups::{Clients, Stations};
use kafkascope_tests::http;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::port::Port;
use kafkascope_tests::process::Process;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::health::client;
use crate::stage::{Stage, Stages};
use crate::trial::trial;

/// A JVM on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Figures follow within two rounds of a second; a busy machine needs longer.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Those of a group and a topic, or of a topic alone.
const GROUP_FIGURES: [&str; 6] = [
    "kafka_consumer_group_offset",
    "kafka_consumer_group_offset_sum",
    "kafka_consumer_group_lag",
    "kafka_consumer_group_lag_sum",
    "kafka_partition_current_offset",
    "kafka_partition_oldest_offset",
];

/// As in `Groups.java`.
const MANY: i64 = 400;
const MORE: i64 = 40;
const SOUGHT_OVER: u64 = 20;
const AHEAD: i64 = 5;

/// A trial with brokers of either line.
type OnStage = fn(&mut Stage) -> Result<()>;

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in Version::ALL {
        for protocol in ["classic", "consumer"] {
            let stages = stages.clone();
            let name = format!("kafka_{version}::groups::{protocol}_group_agrees_with_kafkas_tools");
            trials.push(trial(name, &[Need::Kafka], move || stages.on(version, |stage| one_proxy(stage, protocol))));
        }
    }
    let others: [(&str, &[Need], OnStage); 4] = [
        ("what_is_deleted_leaves_nothing", &[Need::Kafka], deleted),
        ("what_is_deleted_before_it_is_read_is_skipped", &[Need::Kafka], too_late),
        ("a_leader_that_moves_and_returns_skips_nothing", &[Need::Kafka], moved),
        ("a_member_that_dies_is_none_when_its_group_has_gone_on", &[Need::Kafka, Need::Kcat], dies),
    ];
    for (name, needs, run) in others {
        for version in Version::ALL {
            let (stages, name) = (stages.clone(), format!("kafka_{version}::groups::{name}"));
            trials.push(trial(name, needs, move || stages.on(version, run)));
        }
    }
    trials.push(trial("groups::a_proxy_for_each_broker_knows_what_one_for_all_does", &[Need::Kafka], || {
        a_proxy_for_each_broker()
    }));
    trials
}

fn one_proxy(stage: &mut Stage, protocol: &str) -> Result<()> {
    let topic = format!("groups-{protocol}");
    stage.cluster.create_topic(&topic, 1, 3)?;
    agrees(&stage.cluster, &[&stage.proxy], &topic, protocol)
}

/// Offsets, a group and a topic are deleted through the proxy.
fn deleted(stage: &mut Stage) -> Result<()> {
    const TOPIC: &str = "deleted";
    const RECORDS: i64 = 20;
    let Stage { cluster, proxy, .. } = stage;
    let front = cluster.front();
    cluster.create_topic(TOPIC, 2, 3)?;
    let producer: BaseProducer = client(&front, TOPIC).create()?;
    for number in 0..RECORDS {
        let record = BaseRecord::<(), [u8]>::to(TOPIC).partition((number % 2) as i32).payload(b"record");
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    let groups = ["without-offsets", "without-members", "with-all"];
    for group in groups {
        let consumer: BaseConsumer =
            client(&front, TOPIC).set("group.id", group).set("auto.offset.reset", "earliest").create()?;
        consumer.subscribe(&[TOPIC])?;
        let mut read = 0;
        eventually("all records", PATIENCE, || {
            read += i64::from(consumer.poll(Duration::from_millis(100)).transpose()?.is_some());
            Ok((read == RECORDS).then_some(()))
        })?;
        consumer.commit_consumer_state(CommitMode::Sync)?;
    }
    let of = |group| [("group", group), ("topic", TOPIC)];
    let is = |name: &str, group, wanted| becomes(&[proxy], name, &of(group), wanted);
    for group in groups {
        is("kafka_consumer_group_offset_sum", group, RECORDS)?;
        is("kafka_consumer_group_lag_sum", group, 0)?;
    }

    let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let tell = |class: &str, arguments: &[&str]| cluster.administer_by(&front, class, arguments, PATIENCE);
    tell(tool, &["--delete-offsets", "--group", groups[0], "--topic", TOPIC])?;
    tell(tool, &["--delete", "--group", groups[1]])?;
    tell(tool, &["--reset-offsets", "--to-earliest", "--execute", "--group", groups[2], "--topic", TOPIC])?;
    is("kafka_consumer_group_lag_sum", groups[2], RECORDS)?;
    let gone = |labels: &[(&str, &str)]| {
        let what = format!("no lag, offset or end of {labels:?}");
        eventually(&what, CATCH_UP, || {
            let scrape = proxy.metrics()?;
            let is_left = |name: &str| scrape.select(name, labels).count() > 0;
            ensure!(!GROUP_FIGURES.into_iter().any(is_left), "{}", scrape.show("kafka_"));
            Ok(Some(()))
        })
    };
    gone(&of(groups[0]))?;
    gone(&of(groups[1]))?;
    is("kafka_consumer_group_offset_sum", groups[2], 0)?;
    tell("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", TOPIC])?;
    gone(&[("topic", TOPIC)])
}

/// A consumer comes back when what comes next has been deleted, as by the topic's retention.
fn too_late(stage: &mut Stage) -> Result<()> {
    const TOPIC: &str = "too-late";
    const ROUND: i64 = 50;
    const DELETED: i64 = 80;
    let Stage { cluster, proxy, .. } = stage;
    cluster.create_topic(TOPIC, 1, 3)?;
    let mut configuration = client(&cluster.front(), TOPIC);
    configuration.set("group.id", TOPIC).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let producer: BaseProducer = client(&cluster.front(), TOPIC).create()?;
    let round = |read: i64| -> Result<i64> {
        let consumer: BaseConsumer = configuration.create()?;
        consumer.subscribe(&[TOPIC])?;
        let (mut first, mut count) = (None, 0);
        eventually("all records", PATIENCE, || {
            if let Some(record) = consumer.poll(Duration::from_millis(100)).transpose()? {
                count += 1;
                first.get_or_insert(record.offset());
            }
            Ok((count == read).then_some(()))
        })?;
        consumer.commit_consumer_state(CommitMode::Sync)?;
        first.context("no record")
    };
    let produce = || -> Result<()> {
        for _ in 0..ROUND {
            producer.send(BaseRecord::<(), [u8]>::to(TOPIC).payload(b"record")).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(PATIENCE)?)
    };
    produce()?;
    ensure!(round(ROUND)? == 0, "it did not begin at the beginning");
    // Its last fetch would be given what comes now.
    let fetches = [("messaging_client_id", TOPIC), ("kafka_api", "FetchConsumer")];
    becomes(&[proxy], "kafkascope_request_in_flight", &fetches, 0)?;
    produce()?;
    let file = file_for_tool(cluster, TOPIC, &format!(r#""offset":{DELETED}"#))?;
    cluster.administer("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &file], PATIENCE)?;
    let first = round(2 * ROUND - DELETED)?;
    ensure!(first == DELETED, "it goes on at {first}");
    let of = [("messaging_client_id", TOPIC), ("messaging_destination_name", TOPIC)];
    becomes(&[proxy], "kafkascope_consumer_skipped_records_total", &of, first - ROUND)?;
    let error = [of[1], ("error_type", "OFFSET_OUT_OF_RANGE"), ("kafka_api", "FetchConsumer")];
    ensure!(proxy.metrics()?.sum("kafkascope_partition_errors_total", &error) == Some(1.0), "not one refusal");
    Ok(())
}

/// A member is killed: nobody says so on the wire.
fn dies(stage: &mut Stage) -> Result<()> {
    const GROUP: &str = "dies";
    let Stage { cluster, proxy, .. } = stage;
    cluster.create_topic(GROUP, 2, 3)?;
    let front = cluster.front();
    let mut configuration = client(&front, "stays");
    let times = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1000")];
    times.iter().for_each(|(key, value)| _ = configuration.set(*key, *value));
    let stays: BaseConsumer = configuration.set("group.id", GROUP).create()?;
    stays.subscribe(&[GROUP])?;
    let mut command = Command::new("kcat");
    command.args(["-G", GROUP, "-b", &front, "-q"]);
    command.args(times.iter().flat_map(|(key, value)| ["-X".to_owned(), format!("{key}={value}")])).arg(GROUP);
    let mut dies = Process::start("kcat", &command, &cluster.folder().join("dies.log"))?;
    let come_to = |wanted: f64| {
        eventually(&format!("{wanted} members"), PATIENCE, || {
            _ = stays.poll(Duration::from_millis(100)).transpose()?;
            let members = proxy.metrics()?.sum("kafka_consumer_group_members", &[("group", GROUP)]);
            Ok((members == Some(wanted)).then_some(()))
        })
    };
    come_to(2.0).with_context(|| dies.output())?;
    dies.kill()?;
    eventually("all partitions to be the other's", PATIENCE, || {
        _ = stays.poll(Duration::from_millis(100)).transpose()?;
        Ok((stays.assignment()?.count() == 2).then_some(()))
    })?;
    let alone = Instant::now();
    come_to(1.0)?;
    // It would be a member for a minute, had the group not gone on.
    ensure!(alone.elapsed() < Duration::from_secs(30), "a member for {:?} more", alone.elapsed());
    let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let said = cluster.administer(tool, &["--describe", "--members", "--group", GROUP], PATIENCE)?;
    let members = said.lines().filter(|line| line.split_whitespace().next() == Some(GROUP)).count();
    ensure!(members == 1, "{said}");
    Ok(())
}

/// A consumer follows a partition from leader to leader, and is given all that there is on several connections.
fn moved(stage: &mut Stage) -> Result<()> {
    const TOPIC: &str = "moved";
    const RECORDS: i64 = 50;
    let Stage { cluster, proxy, .. } = stage;
    let tell = |class: &str, arguments: &[&str]| cluster.administer(class, arguments, PATIENCE);
    tell("org.apache.kafka.tools.TopicCommand", &["--create", "--topic", TOPIC, "--replica-assignment", "1:2"])?;
    let mut configuration = client(&cluster.front(), "follows");
    configuration.set("group.id", TOPIC).set("auto.offset.reset", "earliest").set("auto.commit.interval.ms", "500");
    let consumer: BaseConsumer = configuration.create()?;
    consumer.subscribe(&[TOPIC])?;
    let producer: BaseProducer = client(&cluster.front(), TOPIC).create()?;
    let mut read = 0;
    for (round, leader) in (1..).zip(["1,2", "2,1", "1,2", "2,1"]) {
        let file = file_for_tool(cluster, TOPIC, &format!(r#""replicas":[{leader}]"#))?;
        let class = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
        tell(class, &["--execute", "--reassignment-json-file", &file])?;
        let class = "org.apache.kafka.tools.LeaderElectionCommand";
        tell(class, &["--election-type", "preferred", "--topic", TOPIC, "--partition", "0"])?;
        for _ in 0..RECORDS {
            producer.send(BaseRecord::<(), [u8]>::to(TOPIC).payload(b"record")).map_err(|(error, _)| error)?;
        }
        producer.flush(PATIENCE)?;
        eventually("all records", PATIENCE, || {
            read += i64::from(consumer.poll(Duration::from_millis(100)).transpose()?.is_some());
            Ok((read == round * RECORDS).then_some(()))
        })?;
    }
    let of = [("messaging_client_id", "follows"), ("messaging_destination_name", TOPIC)];
    let asked = [of[0], ("kafka_api", "FetchConsumer")];
    let scrape = proxy.metrics()?;
    let requests = scrape.select("kafkascope_requests_total", &asked);
    let brokers: BTreeSet<&str> = requests.map(|sample| sample.label("server_port")).collect();
    ensure!(brokers.len() == 2, "it read of {brokers:?}");
    becomes(&[proxy], "kafkascope_consumer_position_lag", &of, 0)?;
    becomes(&[proxy], "kafka_consumer_group_offset", &[("group", TOPIC)], 4 * RECORDS)?;
    // What is skipped is judged 5 s later.
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        _ = consumer.poll(Duration::from_millis(100)).transpose()?;
    }
    let scrape = proxy.metrics()?;
    let skipped = scrape.sum("kafkascope_consumer_skipped_records_total", &of);
    ensure!(skipped.is_none(), "{}", scrape.show("kafkascope_consumer"));
    let consumed = scrape.sum("kafkascope_consumed_messages_total", &of);
    ensure!(consumed == Some((4 * RECORDS) as f64), "{consumed:?} messages");
    Ok(())
}

/// What one of Kafka's tools is to do with the only partition of a topic, as it wants to read it.
fn file_for_tool(cluster: &Cluster, topic: &str, what: &str) -> Result<String> {
    let file = cluster.folder().join(format!("{topic}.json"));
    std::fs::write(&file, format!(r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,{what}}}]}}"#))?;
    Ok(file.to_str().context("a folder's name")?.to_owned())
}

fn a_proxy_for_each_broker() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec::new(Version::V4, 2))?;
    let mut proxies: Vec<Proxy> = Vec::new();
    let admins: Vec<Port> = cluster.routes().iter().map(|_| Port::claim()).collect::<Result<_>>()?;
    let all: Vec<String> = admins.iter().map(|admin| format!("http://{}", admin.address())).collect();
    for (route, admin) in cluster.routes().into_iter().zip(admins) {
        // Each names all, itself included.
        let flags = all.iter().flat_map(|peer| ["--peer".to_owned(), peer.clone()]);
        proxies.push(Proxy::start_at(&ProxySpec::new([route]).flags(flags), admin)?);
    }
    what_one_is_told_the_other_knows(&cluster, &proxies)?;
    // Leader and coordinator of one of them are behind different proxies, whichever these are.
    for topic in ["apart-a", "apart-b", "apart-c"] {
        cluster.create_topic(topic, 1, 1)?;
        agrees(&cluster, &proxies.iter().collect::<Vec<_>>(), topic, "classic").context(topic)?;
    }
    Ok(())
}

/// Only one proxy hears of the cluster and of its brokers; the other is before one of these all the same. (Were it not, its
/// series would end and begin anew when some client asks its broker at last.)
fn what_one_is_told_the_other_knows(cluster: &Cluster, proxies: &[Proxy]) -> Result<()> {
    let [first, second] = cluster.brokers() else { bail!("two brokers") };
    let asker: BaseProducer = client(&first.front().to_string(), "asker").create()?;
    asker.client().fetch_metadata(None, PATIENCE)?;
    let silent = TcpStream::connect(second.front())?;
    let (id, port) = (second.id().to_string(), second.upstream().port().to_string());
    let named = [
        ("server_port", port.as_str()),
        ("kafkascope_broker_id", id.as_str()),
        ("messaging_kafka_cluster_id", cluster.id()),
    ];
    eventually("the other to know its broker", CATCH_UP, || {
        let scrape = proxies.get(1).context("two proxies")?.metrics()?;
        let connections = scrape.select("kafkascope_connections_opened_total", &named[..1]).count();
        ensure!(connections == 1, "{connections} series of connections\n{}", scrape.show("kafkascope_connections"));
        Ok((scrape.select("kafkascope_connections_opened_total", &named).count() == 1).then_some(()))
    })?;
    drop(silent);
    Ok(())
}

/// Runs `Groups.java` and compares at its stations.
fn agrees(cluster: &Cluster, proxies: &[&Proxy], topic: &str, protocol: &str) -> Result<()> {
    let front = cluster.front();
    let clients = Clients { bootstrap: &front, late: &front, topic, protocol };
    let compared = clients.run(cluster.version(), PATIENCE, |stations| compare(cluster, proxies, topic, stations));
    let seen: Vec<String> = proxies
        .iter()
        .map(|proxy| Ok(format!("{}{}", proxy.metrics()?.show("kafka_"), proxy.metrics()?.show("kafkascope_consumer"))))
        .collect::<Result<_>>()?;
    compared.with_context(|| seen.join("\n"))
}

fn compare(cluster: &Cluster, proxies: &[&Proxy], topic: &str, stations: &Stations<'_>) -> Result<()> {
    let group = format!("{topic}-group");
    let consumer = format!("{topic}-consumer");
    let of_group = [("group", group.as_str()), ("topic", topic), ("kafkascope_vantage", "wire")];
    let name = [("messaging_consumer_group_name", group.as_str())];
    let read = [("messaging_client_id", consumer.as_str()), ("messaging_destination_name", topic)];
    let is = |name: &str, labels: &[(&str, &str)], wanted: i64| becomes(proxies, name, labels, wanted);

    stations.reach("read")?;
    is("kafka_consumer_group_offset", &of_group, MANY)?;
    is("kafka_consumer_group_lag", &of_group, 0)?;
    is("kafkascope_consumer_position_lag", &read, 0)?;
    is("kafka_consumer_group_members", &of_group[..1], 1)?;
    is("kafkascope_consumer_group_rebalances_total", &name, 1)?;
    let attributed = [read[0], name[0], ("kafkascope_group_attribution", "exact")];
    is("kafkascope_consumer_position_lag", &attributed, 0)?;
    stations.leave("read")?;

    stations.reach("behind")?;
    is("kafka_partition_current_offset", &of_group[1..], MANY + MORE)?;
    is("kafka_partition_oldest_offset", &of_group[1..], 0)?;
    is("kafka_consumer_group_lag", &of_group, MORE)?;
    is("kafka_consumer_group_lag_sum", &of_group, MORE)?;
    let (offset, lag) = cluster.described(&group, PATIENCE)?;
    ensure!((offset, lag) == (MANY, MORE), "Kafka's tool says offset {offset}, lag {lag}");
    group_row_says(proxies, &group, MORE)?;
    stations.leave("behind")?;

    stations.reach("ahead")?;
    is("kafka_consumer_group_offset", &of_group, MANY + MORE + AHEAD)?;
    is("kafka_consumer_group_lag", &of_group, AHEAD)?;
    let (offset, lag) = cluster.described(&group, PATIENCE)?;
    ensure!((offset, lag) == (MANY + MORE + AHEAD, AHEAD), "Kafka's tool says offset {offset}, lag {lag}");
    is("kafkascope_consumer_skipped_records_total", &read, i64::try_from(SOUGHT_OVER)?)?;
    is("kafkascope_consumer_group_commits_ahead_total", &name, 1)?;
    stations.leave("ahead")?;

    stations.reach("pending")?;
    // What is in the transaction counts for the end, but not for the group.
    is("kafka_partition_current_offset", &of_group[1..], MANY + MORE + 2 * AHEAD + 1)?;
    is("kafka_consumer_group_offset", &of_group, MANY + MORE + AHEAD)?;
    stations.leave("pending")?;

    stations.reach("committed")?;
    is("kafka_consumer_group_offset", &of_group, MANY + MORE + AHEAD + 1)?;
    let (offset, _) = cluster.described(&group, PATIENCE)?;
    ensure!(offset == MANY + MORE + AHEAD + 1, "Kafka's tool says offset {offset}");
    stations.leave("committed")?;

    stations.reach("aborted")?;
    is("kafka_consumer_group_offset", &of_group, MANY + MORE + AHEAD + 1)?;
    is("kafkascope_consumer_position_lag", &read, 0)?;
    is("kafka_partition_current_offset", &of_group[1..], MANY + MORE + 2 * AHEAD + 4)?;
    // What it read again is no skip, and neither is a marker.
    is("kafkascope_consumer_skipped_records_total", &read, i64::try_from(SOUGHT_OVER)?)?;
    stations.leave("aborted")
}

/// Waits until one proxy exports a figure, and it is what is wanted.
fn becomes(proxies: &[&Proxy], name: &str, labels: &[(&str, &str)], wanted: i64) -> Result<()> {
    let mut last = Vec::new();
    let met = eventually(&format!("{name} of {labels:?} to be {wanted}"), CATCH_UP, || {
        last = Vec::new();
        for proxy in proxies {
            last.extend(proxy.metrics()?.select(name, labels).map(|sample| sample.value as i64));
        }
        Ok((last == [wanted]).then_some(()))
    });
    met.with_context(|| format!("it is {last:?}"))
}

/// Every proxy shows the group with its lag.
fn group_row_says(proxies: &[&Proxy], group: &str, lag: i64) -> Result<()> {
    for proxy in proxies {
        let mut last = Value::Null;
        let met = eventually(&format!("/api/groups to tell the lag of {group}"), CATCH_UP, || {
            let rows: Value = serde_json::from_str(&http::get(proxy.admin(), "/api/groups")?)?;
            last = rows.as_array().into_iter().flatten().find(|row| row["group"] == group).cloned().unwrap_or_default();
            let says = last["lag"] == lag
                && last["state"] == "stable"
                && last["members"].as_array().is_some_and(|members| members.len() == 1)
                && last["attribution"] == "exact";
            Ok(says.then_some(()))
        });
        met.with_context(|| last.to_string())?;
    }
    Ok(())
}
