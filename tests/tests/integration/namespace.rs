//! A network namespace, in which this program starts itself again for one trial, and where packets may get lost.

use std::env;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use kafkascope_tests::java::run;

/// Set in the namespace.
const INSIDE: &str = "KAFKASCOPE_TEST_NETWORK";

/// Runs `play`, the trial `name`, in a network of its own.
pub(crate) fn in_own_network(name: &str, play: fn() -> Result<()>) -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return play();
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]).arg(env::current_exe()?);
    again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    // Set in, what that runner says is not taken for the word of this one.
    run("the same test in a network of its own", &again, Duration::from_secs(300))
        .map(drop)
        .map_err(|error| anyhow!(format!("{error:#}").replace('\n', "\n    ")))
}

/// Packets are lost on arrival, until dropped: a sender that knows of the loss would not call it one.
pub(crate) struct Lossy;

impl Lossy {
    /// Loses `packets`, as nftables names them.
    pub(crate) fn on(packets: &str) -> Result<Self> {
        nft(&format!(
            "add table inet kafkascope; \
             add chain inet kafkascope arrive {{ type filter hook input priority 0; }}; \
             add rule inet kafkascope arrive {packets} drop"
        ))?;
        Ok(Self)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        // Left in place, it makes what follows fail.
        _ = nft("delete table inet kafkascope");
    }
}

fn nft(rules: &str) -> Result<()> {
    let output = Command::new("nft").arg(rules).output()?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
