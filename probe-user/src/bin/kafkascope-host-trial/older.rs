//! Connections that are older than the probe: it has to find them without having seen them begin.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::Result;

use crate::judge::{Figure, Report};
use crate::probe::{PROCESS, Probe, TRIAL};

const CONNECTIONS: usize = 7;

const SAMPLER: &str = "sock_diag";

/// Connections of this process to itself. To be made before the probe is started.
pub(crate) struct Older {
    _listener: TcpListener,
    _ends: Vec<(TcpStream, TcpStream)>,
}

impl Older {
    pub(crate) fn connect() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ends = (0..CONNECTIONS).map(|_| Ok((TcpStream::connect(address)?, listener.accept()?.0)));
        Ok(Self { _ends: ends.collect::<Result<_>>()?, _listener: listener })
    }

    pub(crate) fn try_it(&self, probe: &Probe, report: &mut Report) -> Result<()> {
        let labels = [(PROCESS, TRIAL), ("kafkascope_method", SAMPLER)];
        // Of each the end that was accepted belongs to the port that is listened on.
        let truth = CONNECTIONS as f64;
        let scrape = probe.settled(|scrape| scrape.sum("kafkascope_tcp_sockets", &labels))?;
        let ours = scrape.sum("kafkascope_tcp_sockets", &labels);
        report.figure(SAMPLER, &scrape, &Figure::exact("connections older than the probe", ours, truth))
    }
}
