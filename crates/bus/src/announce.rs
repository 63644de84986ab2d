//! Being found and counted with the NATS services protocol (ADR-32), so that `nats micro` works too.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, Subject,
    service::{Service, ServiceExt},
};
use futures_util::{FutureExt, StreamExt};
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
/// Where all services are asked for them.
const ASKED: &str = "$SRV.STATS";
/// So many of those who asked last hear its last word.
const ASKERS_MAX: usize = 16;

type Stats = Arc<dyn Fn() -> ServiceStats + Send + Sync>;

/// Keeps a service announced until it is dropped. It then tells its numbers once more to those who asked for them last:
/// how it was at its end nobody could ask any more.
pub struct Announcement {
    service: Option<Service>,
    client: Client,
    stats: Stats,
    askers: Arc<Mutex<VecDeque<Subject>>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let last = serde_json::to_vec(&(self.stats)()).unwrap_or_default();
        for asker in lock(&self.askers).drain(..) {
            // Before whatever the owner does next with the connection, such as draining it.
            let told = self.client.publish(asker, last.clone().into()).now_or_never();
            if !matches!(told, Some(Ok(()))) {
                debug!("the last word of a service was not told");
            }
        }
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

    async fn try_announce(&self, name: &str, stats: Stats) -> Result<Announcement, async_nats::Error> {
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
        let told = stats.clone();
        let answering = tokio::spawn(async move {
            while let Some(request) = endpoint.next().await {
                let answer = serde_json::to_vec(&told()).unwrap_or_default();
                if let Err(error) = request.respond(Ok(answer.into())).await {
                    debug!(%error, "statistics were not told");
                }
            }
        });
        let mut questions = self.client.subscribe(ASKED).await?;
        let askers = Arc::<Mutex<VecDeque<Subject>>>::default();
        let noted = askers.clone();
        let noting = tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let mut askers = lock(&noted);
                if askers.len() == ASKERS_MAX {
                    askers.pop_front();
                }
                askers.extend(question.reply);
            }
        });
        let tasks = [answering, noting].map(AbortOnDropHandle::new);
        let client = self.client.clone();
        Ok(Announcement { service: Some(service), client, stats, askers, _tasks: tasks })
    }

    /// Asks all services for their numbers: one entry for each instance that answered within `limit`.
    pub async fn stats(&self, limit: Duration) -> Vec<ServiceStats> {
        let inbox = self.client.new_inbox();
        let Ok(mut answers) = self.client.subscribe(inbox.clone()).await else { return Vec::new() };
        if let Err(error) = self.client.publish_with_reply(ASKED, inbox, Vec::new().into()).await {
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
