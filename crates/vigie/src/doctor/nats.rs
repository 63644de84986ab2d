//! NATS: it answers, is new enough, and holds what the services need.

use bus::Stream;

use super::Finding;
use crate::find::{self, Which};

pub(crate) async fn look(which: &Which) -> Vec<Finding> {
    let url = match which.nats_url() {
        Ok(url) => url,
        Err(reason) => return vec![Finding::bad("nats", format!("{reason:#}"), "mend NATS_URL")],
    };
    let bus = match find::connect(&url).await {
        Ok(bus) => bus,
        Err(reason) => {
            let seen = format!("{reason:#}");
            let (seen, mend) = seen.split_once(": ").unwrap_or((&seen, "look at NATS_URL"));
            return vec![Finding::bad("nats", seen, mend)];
        }
    };
    let mut findings = vec![Finding::good(
        "nats",
        format!("NATS {} answers at {}", bus.server_version(), bus::without_credentials(&url)),
    )];
    let streams = bus::backlogs(&bus).await;
    let missing: Vec<&str> = Stream::ALL
        .map(Stream::name)
        .into_iter()
        .filter(|name| !streams.iter().any(|found| found.stream == *name))
        .collect();
    findings.push(if missing.is_empty() {
        Finding::good("nats", format!("all {} streams are there", streams.len()))
    } else {
        let seen = format!("streams are missing: {}", missing.join(", "));
        Finding::bad("nats", seen, "run `vigie provision`; NATS must run with JetStream (`-js`)")
    });
    let dead: u64 = streams.iter().filter(|one| one.stream == "DEAD").map(|one| one.messages).sum();
    if dead > 0 {
        findings.push(Finding::note(
            "nats",
            format!("{dead} dead letters of the last 7 days: `vigie dead list` says what and why"),
        ));
    }
    findings
}
