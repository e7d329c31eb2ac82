//! Item 41: a broker that dies is down within two seconds, and one that comes back is a restart.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Break;
use super::stage::{PATIENCE, Stage, counted, say};
use crate::prometheus::Scrape;
use crate::truth::row::{Figure, Row, Tolerance};

const UP: &str = "kafkascope_process_up";
const LABELS: [(&str, &str); 1] = [("kafkascope_process_name", "broker-1")];

pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    say("a broker that is killed");
    let before = stage.scrape()?;
    // Not all of its ports: JMX was switched on by hand.
    let port = stage.bootstrap().port().to_string();
    let of_port = [LABELS[0], ("server_port", port.as_str())];
    let listening = |scrape: &Scrape| scrape.sum("kafkascope_process_listening", &of_port);
    ensure!(listening(&before) == Some(1.0), "the broker does not listen at {port}");
    let killed = Instant::now();
    if !stage.is_broken(Break::Immortal) {
        stage.cluster.kill(1)?;
    }
    let mut seconds = None;
    while seconds.is_none() && killed.elapsed() < Duration::from_secs(10) {
        if stage.scrape()?.sum(UP, &LABELS) == Some(0.0) {
            seconds = Some(killed.elapsed().as_secs_f64());
        }
    }
    let down = stage.scrape()?;
    let still_listening = listening(&down);
    if !stage.is_broken(Break::Immortal) {
        stage.cluster.restart(1)?;
    }
    stage.eventually("the broker to be up again", |scrape| scrape.sum(UP, &LABELS) == Some(1.0))?;
    stage.cluster.wait_ready(PATIENCE * 2)?;
    let after = stage.eventually("it to listen again", |scrape| listening(scrape) == Some(1.0))?;
    let seen = seconds.map(|seconds| Figure::mean(seconds, 1.0)).ok_or_else(|| "never seen to be down".to_owned());
    let ports_closed = still_listening.map(|open| Figure::mean(open, 1.0)).ok_or_else(|| "no series".to_owned());
    Ok(vec![
        Row::compared(
            41,
            "time until a killed broker is down, s",
            seen,
            Ok(Figure::mean(0.0, 1.0)),
            "kill",
            Tolerance::EXACT.plus(2.0, "s"),
        ),
        Row::compared(
            41,
            "whether it listens then",
            ports_closed,
            Ok(Figure::mean(0.0, 1.0)),
            "kill",
            Tolerance::EXACT,
        ),
        Row::compared(
            41,
            "restarts",
            counted(&before, &after, "kafkascope_process_restarts_total", &LABELS),
            Ok(Figure::count(1.0)),
            "it was started again",
            Tolerance::EXACT,
        ),
    ])
}
