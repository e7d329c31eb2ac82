//! Whether everything passed through the proxy: its record counts against the clients' own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clients::PLANS;
use crate::prometheus::Scrape;

/// Both counts of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) client_id: &'static str,
    /// Records by the client's own count.
    pub(super) said: u64,
    /// Records that the proxy counted.
    pub(super) seen: u64,
}

impl Line {
    pub(super) fn agrees(&self) -> bool {
        self.said == self.seen
    }

    /// The client knows of records that the proxy does not. (The other way round, records were sent
    /// twice, or the client has yet to count them.)
    pub(super) fn bypasses(&self) -> bool {
        self.said > self.seen
    }
}

/// A line for each client. `scrape` must be younger than `said`, or the proxy seems to miss what it has yet to tell.
pub(super) fn compare(said: &BTreeMap<&'static str, u64>, scrape: &Scrape) -> Vec<Line> {
    let lines = PLANS.iter().map(|plan| {
        // What brokers have accepted: a batch that one refuses is sent again.
        let name =
            if plan.produces() { "kafkascope_produced_messages_total" } else { "kafkascope_consumed_messages_total" };
        let seen = scrape.count(name, &[("messaging_client_id", plan.client_id)]);
        Line { client_id: plan.client_id, said: said.get(plan.client_id).copied().unwrap_or_default(), seen }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_went_past_the_proxy_make_a_difference() {
        let text = "kafkascope_produced_messages_total{messaging_client_id=\"orders-good\",kafkascope_codec=\"lz4\"} 90\n\
            kafkascope_produced_messages_total{messaging_client_id=\"clicks-chatty\"} 7\n\
            kafkascope_consumed_messages_total{messaging_client_id=\"billing-steady\"} 90\n";
        let scrape = Scrape::parse(text).unwrap();
        let said = BTreeMap::from([("orders-good", 100), ("clicks-chatty", 7), ("billing-steady", 90)]);
        let differ: Vec<_> = compare(&said, &scrape).into_iter().filter(Line::bypasses).collect();
        assert_eq!(differ, [Line { client_id: "orders-good", said: 100, seen: 90 }]);
    }
}
