//! Being found and counted with the NATS services protocol (ADR-32), so that `nats micro` works too.

use std::{sync::Arc, time::Duration};

use async_nats::service::{Service, ServiceExt};
use futures_util::StreamExt;
use protocol::ServiceStats;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::{connect::Bus, roll::stats_in};

/// How long to wait for the answers of services that run well.
pub const DISCOVERY_LIMIT: Duration = Duration::from_millis(300);
/// When no further answer came for so long, all who are well have answered, even on a busy Pi.
const QUIET: Duration = Duration::from_millis(150);
/// More services than any bot has.
const MAX_ANSWERS: usize = 512;
/// The endpoint under which a service tells its numbers.
const ENDPOINT: &str = "stats";

/// Keeps a service announced until it is dropped.
#[derive(Debug)]
pub struct Announcement {
    service: Option<Service>,
    _task: AbortOnDropHandle<()>,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Dropping the client's service leaves it answering; only stopping it, which waits, does not.
        if let (Some(service), Ok(runtime)) = (self.service.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = service.stop().await {
                    debug!(%error, "the service was gone already");
                }
            });
        }
    }
}

/// Why a service could not be announced.
#[derive(Debug, thiserror::Error)]
#[error("the service {service} could not be announced")]
pub struct AnnounceError {
    service: String,
    source: async_nats::Error,
}

impl Bus {
    /// Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` for this service. `stats` is asked for each
    /// answer, so it should be quick.
    ///
    /// # Errors
    /// When the name is not one for NATS, or the connection is closed.
    pub async fn announce(
        &self,
        service: &str,
        stats: impl Fn() -> ServiceStats + Send + Sync + 'static,
    ) -> Result<Announcement, AnnounceError> {
        self.try_announce(service, Arc::new(stats))
            .await
            .map_err(|source| AnnounceError { service: service.to_owned(), source })
    }

    async fn try_announce(
        &self,
        name: &str,
        stats: Arc<dyn Fn() -> ServiceStats + Send + Sync>,
    ) -> Result<Announcement, async_nats::Error> {
        let told = stats.clone();
        let service = self
            .client
            .service_builder()
            .description("part of Vigie")
            .stats_handler(move |_, _| serde_json::to_value(told()).unwrap_or_default())
            .start(name, env!("CARGO_PKG_VERSION"))
            .await?;
        let subject = format!("vigie.{name}.{ENDPOINT}");
        let mut endpoint = service.endpoint_builder().name(ENDPOINT).add(subject).await?;
        let task = tokio::spawn(async move {
            while let Some(request) = endpoint.next().await {
                let answer = serde_json::to_vec(&stats()).unwrap_or_default();
                if let Err(error) = request.respond(Ok(answer.into())).await {
                    debug!(%error, "statistics were not told");
                }
            }
        });
        Ok(Announcement { service: Some(service), _task: AbortOnDropHandle::new(task) })
    }

    /// Asks all services for their numbers: one entry for each instance that answered within `limit`.
    pub async fn stats(&self, limit: Duration) -> Vec<ServiceStats> {
        let inbox = self.client.new_inbox();
        let Ok(mut answers) = self.client.subscribe(inbox.clone()).await else { return Vec::new() };
        if let Err(error) = self.client.publish_with_reply("$SRV.STATS", inbox, Vec::new().into()).await {
            warn!(%error, "services were not asked for their numbers");
            return Vec::new();
        }
        let deadline = tokio::time::Instant::now() + limit;
        let mut found = Vec::new();
        while found.len() < MAX_ANSWERS {
            // The first answer may take the whole time; when answers stop coming, waiting on is idle.
            let patience =
                if found.is_empty() { deadline } else { deadline.min(tokio::time::Instant::now() + QUIET) };
            let Ok(Some(message)) = tokio::time::timeout_at(patience, answers.next()).await else { break };
            found.extend(stats_in(&message.payload));
        }
        found.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
        found
    }
}
