//! TCP: retransmitted segments of a process under a known loss, and none without.
//!
//! The talker has a network of its own, whose statistics the kernel keeps apart, and in which a rule drops segments. Both
//! ends of its connection are its own: one as a client's, one as a broker's.

use anyhow::{Result, bail};

use crate::actor::Actor;
use crate::exposition::Exposition;
use crate::judge::{Figure, Report};
use crate::probe::{PROCESS, Probe, TALKER};

const SAMPLER: &str = "tcp";

pub(crate) fn try_it(probe: &Probe, report: &mut Report) -> Result<()> {
    let mut talker = match Actor::in_own_network("talk") {
        Ok(talker) => talker,
        Err(why) => return report.absent(SAMPLER, &format!("{why:#}")),
    };
    probe.await_process(TALKER)?;
    // It listens. By the time that all is quiet, the probe knows where.
    let mut before = probe.settled(retransmits)?;
    if let Err(why) = talker.ask("connect") {
        return report.absent(SAMPLER, &format!("{why:#}"));
    }
    let trials = [
        ("tcp without loss", "send"),
        ("tcp with loss, as who connected", "lose as who connected"),
        ("tcp with loss, as who accepted", "lose as who accepted"),
    ];
    for (name, order) in trials {
        let truth: f64 = match talker.ask(order) {
            Ok(answer) => answer.parse()?,
            Err(why) => {
                report.absent(name, &format!("{why:#}"))?;
                continue;
            }
        };
        if order != "send" && truth == 0.0 {
            bail!("nothing was lost");
        }
        let after = probe.settled(retransmits)?;
        report.figure(SAMPLER, &after, &Figure::exact(name, retransmits(&after) - retransmits(&before), truth))?;
        before = after;
    }
    Ok(())
}

fn retransmits(scrape: &Exposition) -> f64 {
    scrape.sum("kafkascope_tcp_retransmits_total", &[(PROCESS, TALKER)])
}
