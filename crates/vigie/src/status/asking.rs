//! Asking the services how they are: all of them at once, then by name those that were not heard.

use std::time::Duration;

use bus::{Bus, DISCOVERY_LIMIT};
use protocol::{ServiceStats, VERSION, Versioned};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::find;

/// How long a service that was asked by name may take: a second in all, with the first question.
const BY_NAME_LIMIT: Duration = Duration::from_secs(1).saturating_sub(DISCOVERY_LIMIT);

/// Asks a service for its numbers; there is nothing to say but that.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    v: u16,
}

impl Versioned for Ask {
    const NAME: &'static str = "ask";

    fn version(&self) -> u16 {
        self.v
    }
}

/// Every service that answers, sorted by name and instance.
pub(super) async fn services(bus: &Bus) -> Vec<ServiceStats> {
    complete(bus, bus.stats(DISCOVERY_LIMIT).await).await
}

/// A busy machine answers late, after the silence that ends the first question. Asked by name a service
/// has more time, and one that is not there is known at once.
async fn complete(bus: &Bus, mut found: Vec<ServiceStats>) -> Vec<ServiceStats> {
    let mut late = JoinSet::new();
    // One that is not there is known at once.
    for name in find::SERVICES.into_iter().chain(find::OPTIONAL.map(|(name, _)| name)) {
        if !found.iter().any(|one| one.service == name) {
            let bus = bus.clone();
            late.spawn(async move {
                let subject = format!("vigie.{name}.stats");
                bus.request::<_, ServiceStats>(subject, &Ask { v: VERSION }, BY_NAME_LIMIT, None).await
            });
        }
    }
    // A service without an answer is told as one of the problems.
    found.extend(late.join_all().await.into_iter().flatten());
    found.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(service: &str) -> ServiceStats {
        ServiceStats {
            v: VERSION,
            service: service.to_owned(),
            instance: "here-1".to_owned(),
            build: String::new(),
            uptime_s: 1,
            ready: true,
            reason: String::new(),
            resident_bytes: 1,
            metrics: std::collections::BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_service_that_was_not_heard_at_first_is_asked_by_name() {
        let nats = testkit::Nats::start().await;
        let bus = nats.bus("test").await;
        let late = bus.announce("twitch-gateway", || stats("twitch-gateway")).await.unwrap();
        bus.round_trip().await;
        let found = complete(&bus, vec![stats("discord-gateway")]).await;
        let names: Vec<&str> = found.iter().map(|one| one.service.as_str()).collect();
        assert_eq!(names, ["discord-gateway", "twitch-gateway"]);
        drop(late);
    }
}
