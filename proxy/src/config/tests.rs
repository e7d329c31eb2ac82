use super::*;

fn load(arguments: &[&str]) -> Result<Config, ConfigError> {
    Config::load(["kafkascope-proxy"].iter().chain(arguments).map(Into::into))
}

const ROUTE: &str = "127.0.0.1:19092=kafka-1.internal:9092";

#[test]
fn a_route_is_an_address_to_listen_at_and_one_to_connect_to() {
    let config = load(&["--route", "[::1]:19092=kafka-1.internal:9092,observe=headers,name=blue,id=7"]).unwrap();
    let route = &config.routes[0];
    assert_eq!(route.listen.to_string(), "[::1]:19092");
    assert_eq!(route.upstream.to_string(), "kafka-1.internal:9092");
    assert_eq!((route.observe, route.name.as_deref(), route.id), (Observe::Headers, Some("blue"), Some(7)));
}

#[test]
fn a_route_without_its_own_depth_takes_the_general_one() {
    let config = load(&["--observe", "none", "--route", ROUTE, "--route", "127.0.0.1:2=h:1,observe=full"]).unwrap();
    assert_eq!(config.routes.iter().map(|route| route.observe).collect::<Vec<_>>(), [Observe::None, Observe::Full]);
}

#[test]
fn partitions_are_told_apart_only_where_that_is_asked_for() {
    let wanted = |more: &[&str]| load(&[&["--route", ROUTE], more].concat()).unwrap().telemetry.partitions;
    assert_eq!([&[][..], &["--partitions"], &["--partitions", "false"]].map(wanted), [false, true, false]);
}

#[test]
fn each_mistake_is_told_with_its_key_and_value() {
    let table: &[(&[&str], &[&str])] = &[
        (&[], &["--route", "at least one"]),
        (&["--route", "127.0.0.1:1"], &["--route", "127.0.0.1:1", "no '='"]),
        (&["--route", "127.0.0.1:1="], &["--route", "no UPSTREAM"]),
        (&["--route", "127.0.0.1=h:1"], &["--route", "127.0.0.1", "is not an address"]),
        (&["--route", "127.0.0.1:99999=h:1"], &["--route", "99999"]),
        (&["--route", "127.0.0.1:1=h:0"], &["--route", "port 0"]),
        (&["--route", "::1:1=h:1"], &["--route", "brackets"]),
        (&["--route", "127.0.0.1:1=1.2.3:1"], &["--route", "1.2.3:1"]),
        (&["--route", "127.0.0.1:1=h:1,colour=red"], &["--route", "colour=red", "observe="]),
        (&["--route", "127.0.0.1:1=h:1,id=-1"], &["--route", "id=-1"]),
        (&["--route", "127.0.0.1:1=h:1,observe=all"], &["--route", "observe=all", "headers"]),
        (&["--route", ROUTE, "--route", ROUTE], &["--route", "another route"]),
        (&["--route", ROUTE, "--observe", "some"], &["--observe", "KAFKASCOPE_OBSERVE", "some"]),
        (&["--route", ROUTE, "--workers", "0"], &["--workers", "\"0\""]),
        (&["--route", ROUTE, "--max-connections", "many"], &["--max-connections", "many"]),
        (&["--route", ROUTE, "--connect-timeout", "10"], &["--connect-timeout", "\"10\"", "10s"]),
        (&["--route", ROUTE, "--drain-timeout", "0s"], &["--drain-timeout", "0s"]),
        (&["--route", ROUTE, "--drain-timeout", "2d"], &["--drain-timeout", "2d", "a day"]),
        (&["--route", ROUTE, "--trace-parent", "all"], &["--trace-parent", "all", "none, single"]),
        (&["--route", ROUTE, "--principal", "yes"], &["--principal", "yes", "on, off"]),
        (&["--route", ROUTE, "--max-principals", "0"], &["--max-principals", "\"0\""]),
        (&["--route", ROUTE, "--partitions", "maybe"], &["--partitions", "maybe", "true, false"]),
        (&["--route", ROUTE, "--max-partitions", "0"], &["--max-partitions", "\"0\""]),
        (&["--route", ROUTE, "--admin", "nonsense"], &["--admin", "nonsense"]),
        (&["--route", ROUTE, "--peer", "10.0.0.7:9464"], &["--peer", "10.0.0.7:9464", "http://"]),
        (&["--route", ROUTE, "--peer", "http://10.0.0.7:9464/metrics"], &["--peer", "/metrics"]),
        (&["--route", ROUTE, "--colour", "red"], &["--colour"]),
        (&["--route", ROUTE, "--config", "/nowhere/x.toml"], &["--config", "/nowhere/x.toml"]),
    ];
    for (arguments, parts) in table {
        let message = load(arguments).expect_err(&format!("{arguments:?} is wrong")).to_string();
        for part in *parts {
            assert!(message.contains(part), "{arguments:?}: {message:?} lacks {part:?}");
        }
    }
}
