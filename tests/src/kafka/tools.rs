//! What Kafka's own command-line programs say of a cluster, and tell it. They go past any proxy unless they are told not to.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use crate::java::Tool;

impl Cluster {
    /// Runs a class of Kafka's tools that talks to the brokers, and gives what it printed.
    pub fn administer(&self, class: &str, arguments: &[&str], limit: Duration) -> Result<String> {
        self.administer_by(&self.direct(), class, arguments, limit)
    }

    /// The same by these bootstrap servers.
    pub fn administer_by(&self, bootstrap: &str, class: &str, arguments: &[&str], limit: Duration) -> Result<String> {
        let tool = Tool::class(self.version, class)?.args(["--bootstrap-server", bootstrap]);
        tool.args(arguments).run(limit)
    }

    /// An offset of each partition of `topic`, as `kafka-get-offsets.sh` tells: at `time` -2 the oldest, at -1 the newest.
    pub fn offsets(&self, topic: &str, time: &str, limit: Duration) -> Result<Vec<u64>> {
        let class = "org.apache.kafka.tools.GetOffsetShell";
        let said = self.administer(class, &["--topic", topic, "--time", time], limit)?;
        let lines = said.lines().filter(|line| line.starts_with(topic));
        let offset = |line: &str| line.rsplit(':').next().unwrap_or_default().trim().parse();
        lines.map(|line| offset(line).with_context(|| said.clone())).collect()
    }

    /// The records in each partition of `topic`: end offset less start offset.
    pub fn record_counts(&self, topic: &str) -> Result<Vec<u64>> {
        const LIMIT: Duration = Duration::from_secs(60);
        let (start, end) = (self.offsets(topic, "-2", LIMIT)?, self.offsets(topic, "-1", LIMIT)?);
        Ok(end.iter().zip(start).map(|(end, start)| end - start).collect())
    }

    /// Committed offset and lag of a group with one partition, as `kafka-consumer-groups.sh --describe` tells.
    pub fn described(&self, group: &str, limit: Duration) -> Result<(i64, i64)> {
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        // Else 5 s in 3.9, for each question that it asks.
        let patience = limit.as_millis().to_string();
        let said = self.administer(class, &["--describe", "--group", group, "--timeout", &patience], limit)?;
        let line = |first: &str| {
            let mut lines = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.find(|words| words.first() == Some(&first)).with_context(|| format!("no {first}: {said}"))
        };
        // GROUP TOPIC PARTITION [LEADER-EPOCH] CURRENT-OFFSET LOG-END-OFFSET LAG ..
        let (head, row) = (line("GROUP")?, line(group)?);
        let field = |name: &str| -> Result<i64> {
            let at = head.iter().position(|column| *column == name);
            let text = at.and_then(|at| row.get(at)).with_context(|| format!("no {name}: {said}"))?;
            text.parse().with_context(|| said.clone())
        };
        Ok((field("CURRENT-OFFSET")?, field("LAG")?))
    }
}
