//! The connection, and whether it is up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, Event, jetstream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

/// Where NATS is unless `NATS_URL` says otherwise.
pub const NATS_URL_DEFAULT: &str = "nats://127.0.0.1:4222";
/// The oldest server with all that is needed: message TTLs, schedules, fixes of work queues.
const OLDEST_SERVER: (i64, i64, i64) = (2, 14, 0);
/// How long a start waits for NATS: it may be starting too.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries while starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// A server that froze is noticed after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The longest wait between two tries to reconnect.
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// How long one request to JetStream may take before it is tried again.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of a service waits for its last words to reach the socket.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// Commands that wait for the socket while NATS is away; more make the caller wait.
const QUEUED_COMMANDS: usize = 2048;
/// Messages of one subscription that wait to be read; more are dropped by the client, loudly.
const QUEUED_MESSAGES: usize = 4096;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Such as `nats://127.0.0.1:4222`; several with commas; may hold `user:password@`.
    pub url: String,
    /// Shown by NATS as the name of the connection: the service's instance.
    pub name: String,
}

/// Whether NATS can be reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can.
    Up,
    /// It cannot; the client keeps trying for ever.
    Down,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `NATS_URL` is not one.
    #[error("NATS_URL: expected something like {NATS_URL_DEFAULT}")]
    Url(#[source] std::io::Error),
    /// Nobody answered in time.
    #[error(
        "no NATS server answered at {url} within {} s: is it running, and is NATS_URL right?",
        CONNECT_LIMIT.as_secs()
    )]
    Unreachable {
        /// Where it was expected, without credentials.
        url: String,
        /// What the last try said.
        source: async_nats::ConnectError,
    },
    /// The server is too old.
    #[error("the NATS server is version {found}; 2.14 or newer is needed (shipped: 2.15)")]
    TooOld {
        /// Its version.
        found: String,
    },
}

/// A connection to NATS; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    /// Which partition of this process gives out messages that may end it.
    pub(crate) suspects: Arc<Semaphore>,
    link: watch::Receiver<Link>,
}

impl Bus {
    /// Connects, waiting up to 30 s for a server that is just starting.
    ///
    /// # Errors
    /// [`ConnectError`] says which setting to look at.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let servers = addresses(&options.url).map_err(ConnectError::Url)?;
        let (report, link) = watch::channel(Link::Up);
        let started = Instant::now();
        let client = loop {
            let attempt = connect_options(&options.name, report.clone()).connect(servers.clone()).await;
            match attempt {
                Ok(client) => break client,
                Err(error) if started.elapsed() < CONNECT_LIMIT => {
                    debug!(%error, "NATS does not answer yet");
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                Err(source) => {
                    return Err(ConnectError::Unreachable { url: without_credentials(&options.url), source });
                }
            }
        };
        turn(&report, Link::Up);
        let (major, minor, patch) = OLDEST_SERVER;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(ConnectError::TooOld { found: client.server_info().version });
        }
        let jetstream = jetstream::context::ContextBuilder::new().timeout(ANSWER_LIMIT).build(client.clone());
        Ok(Self { client, jetstream, suspects: Arc::new(Semaphore::new(1)), link })
    }

    /// Whether the link is up, and when that changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Waits until the link changes from how `link` has seen it last: what was on its way then, an
    /// acknowledgement among it, went with the connection.
    pub(crate) async fn lost(link: &mut watch::Receiver<Link>) {
        if link.changed().await.is_err() {
            // The client was closed, and tells that to whoever waits for an answer.
            std::future::pending::<()>().await;
        }
    }

    /// The version of the server.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Waits until the server has everything that was sent. (`flush` of the client only empties the
    /// socket; a round trip through the server is a request to oneself.)
    pub async fn round_trip(&self) {
        let inbox = self.client.new_inbox();
        let Ok(mut echo) = self.client.subscribe(inbox.clone()).await else { return };
        if self.client.publish(inbox, Vec::new().into()).await.is_ok() {
            let answered = futures_util::StreamExt::next(&mut echo);
            if tokio::time::timeout(ANSWER_LIMIT, answered).await.is_err() {
                warn!("NATS did not echo in time");
            }
        }
    }

    /// Sends what is buffered and closes.
    pub async fn drain(&self) {
        // Draining only asks the client to; acknowledgements given last must be in the socket before
        // the runtime ends. While NATS is away they cannot be, and their messages come again.
        let flushed = tokio::time::timeout(FLUSH_LIMIT, self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("what was told last may not have reached NATS");
        }
        if let Err(error) = self.client.drain().await {
            warn!(%error, "the NATS connection could not be drained");
        }
    }
}

fn addresses(url: &str) -> std::io::Result<Vec<async_nats::ServerAddr>> {
    url.split(',').map(|one| one.trim().parse()).collect()
}

fn connect_options(name: &str, report: watch::Sender<Link>) -> ConnectOptions {
    ConnectOptions::new()
        .name(name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(ANSWER_LIMIT)
        .request_timeout(Some(ANSWER_LIMIT))
        .client_capacity(QUEUED_COMMANDS)
        .subscription_capacity(QUEUED_MESSAGES)
        .reconnect_delay_callback(|attempts| {
            let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
            let delay = Duration::from_millis(10).saturating_mul(2_u32.saturating_pow(exponent));
            delay.min(RECONNECT_MAX).mul_f32(0.75 + fastrand::f32() / 2.0)
        })
        .event_callback(move |event| {
            notice(&event, &report);
            std::future::ready(())
        })
}

/// A slow consumer and a refused permission show themselves nowhere else.
fn notice(event: &Event, report: &watch::Sender<Link>) {
    match event {
        Event::Connected => {
            info!("connected to NATS");
            turn(report, Link::Up);
        }
        Event::Disconnected => {
            warn!("lost NATS; trying again until it is back");
            turn(report, Link::Down);
        }
        Event::LameDuckMode => info!("NATS is about to stop"),
        Event::Draining | Event::Closed => debug!(%event, "NATS connection"),
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => warn!(%event, "NATS"),
    }
}

/// News that are none would have every consumer attach again: the client tells of the first connection
/// when it is long in use.
fn turn(report: &watch::Sender<Link>, now: Link) {
    report.send_if_modified(|link| std::mem::replace(link, now) != now);
}

/// A NATS URL as it may be shown: without user and password.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let one = |one: &str| match (one.find("://"), one.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &one[..scheme + 3], &one[at + 1..]),
        _ => one.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_left_out_of_messages() {
        assert_eq!(without_credentials("nats://a:b@host:4222,nats://c"), "nats://host:4222,nats://c");
    }

    #[tokio::test]
    async fn a_url_that_is_none_is_named() {
        let options = Options { url: "nats://:::".to_owned(), name: "test".to_owned() };
        let error = Bus::connect(options).await.unwrap_err();
        assert!(error.to_string().starts_with("NATS_URL"), "{error}");
    }
}
