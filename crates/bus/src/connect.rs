//! The connection, and whether it is up.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError, jetstream};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, error, info, warn};

use crate::access::{API_OF_APP, Account, Nkey, NkeyError, User};

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

/// What to do when the server does not go by our table.
const KEYS_ADVICE: &str = "run `vigie keys` and have NATS read it again";

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Such as `nats://127.0.0.1:4222`; several with commas; may hold `user:password@`.
    pub url: String,
    /// Shown by NATS as the name of the connection: the service's instance.
    pub name: String,
}

/// As whom to connect, and how the server is known.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who we are.
    pub user: User,
    /// The seed of its key; `None` where NATS asks nobody who they are.
    pub nkey: Option<SecretString>,
    /// Whose certificates are trusted (PEM), and nobody else's. With it the connection is TLS, or is not.
    pub ca_file: Option<PathBuf>,
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
    /// `NATS_NKEY` is none.
    #[error("NATS_NKEY cannot be used")]
    Key(#[source] NkeyError),
    /// `NATS_CA_FILE` cannot be read.
    #[error("NATS_CA_FILE: {} cannot be read", path.display())]
    CaFile {
        /// What it names.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// NATS wants a key, and has been given none.
    #[error(
        "NATS at {url} lets nobody in without a key: expected NATS_NKEY_FILE to name a seed that `vigie keys` wrote"
    )]
    KeyMissing {
        /// Where it is, without credentials.
        url: String,
    },
    /// NATS does not know the key.
    #[error(
        "NATS at {url} refused the key {public}: expected the one of {user} in its users.conf; {KEYS_ADVICE}, and \
         see that NATS_NKEY_FILE names the seed of {user}"
    )]
    KeyRefused {
        /// Where it is, without credentials.
        url: String,
        /// The public half.
        public: String,
        /// Who we are.
        user: User,
    },
    /// NATS is not who it should be.
    #[error(
        "NATS at {url} has a certificate that is not trusted: expected one that NATS_CA_FILE vouches for"
    )]
    Untrusted {
        /// Where it is, without credentials.
        url: String,
        /// What is wrong with it.
        source: async_nats::ConnectError,
    },
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
    refused: Arc<AtomicU64>,
}

/// What the client tells of by itself.
#[derive(Clone)]
struct Report {
    link: watch::Sender<Link>,
    refused: Arc<AtomicU64>,
}

impl Bus {
    /// Connects where NATS asks nobody who they are, waiting up to 30 s for a server that is just starting.
    ///
    /// # Errors
    /// [`ConnectError`] says which setting to look at.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        Box::pin(Self::open(options, None)).await
    }

    /// Connects as one of the users, waiting up to 30 s for a server that is just starting.
    ///
    /// # Errors
    /// [`ConnectError`] says which setting to look at.
    pub async fn connect_as(login: &Login, options: Options) -> Result<Self, ConnectError> {
        // It is large, and awaited once.
        Box::pin(Self::open(options, Some(login))).await
    }

    async fn open(options: Options, login: Option<&Login>) -> Result<Self, ConnectError> {
        let servers = addresses(&options.url).map_err(ConnectError::Url)?;
        let key = login.map_or(Ok(None), Login::key)?;
        let ca_file = login.and_then(|login| login.ca_file.as_deref());
        if let Some(path) = ca_file {
            readable(path).await?;
        }
        let url = without_credentials(&options.url);
        let (link, links) = watch::channel(Link::Up);
        let report = Report { link, refused: Arc::default() };
        let started = Instant::now();
        let client = loop {
            let mut how = connect_options(&options.name, report.clone());
            if let Some(login) = login {
                how = how.custom_inbox_prefix(login.user.inbox());
            }
            if let Some(key) = &key {
                how = how.nkey(key.expose().to_owned());
            }
            if let Some(path) = ca_file {
                how = how.add_root_certificates(path.to_owned()).require_tls(true);
            }
            let source = match how.connect(servers.clone()).await {
                Ok(client) => break client,
                Err(source) => source,
            };
            if let Some(refusal) = refusal(&source) {
                return Err(refusal.explain(url, login, key.as_ref(), source));
            }
            if started.elapsed() >= CONNECT_LIMIT {
                return Err(ConnectError::Unreachable { url, source });
            }
            debug!(error = %source, "NATS does not answer yet");
            tokio::time::sleep(CONNECT_PAUSE).await;
        };
        turn(&report.link, Link::Up);
        let (major, minor, patch) = OLDEST_SERVER;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(ConnectError::TooOld { found: client.server_info().version });
        }
        let builder = jetstream::context::ContextBuilder::new().timeout(ANSWER_LIMIT);
        let jetstream = match login {
            // A server that has users knows the accounts.
            Some(login) if knows_accounts(&client, key.as_ref()) && login.user.account() == Account::Ops => {
                builder.api_prefix(API_OF_APP).build(client.clone())
            }
            _ => builder.build(client.clone()),
        };
        let suspects = Arc::new(Semaphore::new(1));
        Ok(Self { client, jetstream, suspects, link: links, refused: report.refused })
    }

    /// How often NATS refused what was sent or listened to: the user was not granted it.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
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
        if self.round_trip_time().await.is_none() {
            warn!("NATS did not echo in time");
        }
    }

    /// How long a message takes to the server and back; `None` when it did not come back in time.
    pub async fn round_trip_time(&self) -> Option<Duration> {
        let started = Instant::now();
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await.ok()?;
        self.client.publish(inbox, Vec::new().into()).await.ok()?;
        tokio::time::timeout(ANSWER_LIMIT, futures_util::StreamExt::next(&mut echo)).await.ok()??;
        Some(started.elapsed())
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

impl Login {
    fn key(&self) -> Result<Option<Nkey>, ConnectError> {
        let seed = self.nkey.as_ref();
        seed.map(|seed| seed.expose_secret().parse()).transpose().map_err(ConnectError::Key)
    }
}

fn knows_accounts(client: &Client, key: Option<&Nkey>) -> bool {
    key.is_some() && client.server_info().auth_required
}

/// Why trying again is of no use.
enum Refusal {
    Key,
    Certificate,
}

fn refusal(error: &async_nats::ConnectError) -> Option<Refusal> {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => Some(Refusal::Key),
        // The client tells of it in words only.
        _ if error.to_string().contains("invalid peer certificate") => Some(Refusal::Certificate),
        _ => None,
    }
}

impl Refusal {
    fn explain(
        self,
        url: String,
        login: Option<&Login>,
        key: Option<&Nkey>,
        source: async_nats::ConnectError,
    ) -> ConnectError {
        match (self, login, key) {
            (Self::Certificate, ..) => ConnectError::Untrusted { url, source },
            (Self::Key, Some(login), Some(key)) => {
                ConnectError::KeyRefused { url, public: key.public().to_owned(), user: login.user }
            }
            (Self::Key, ..) => ConnectError::KeyMissing { url },
        }
    }
}

/// The client would only say so when it is too late to say which setting it was.
async fn readable(path: &Path) -> Result<(), ConnectError> {
    let read = tokio::fs::metadata(path).await;
    read.map(drop).map_err(|source| ConnectError::CaFile { path: path.to_owned(), source })
}

fn connect_options(name: &str, report: Report) -> ConnectOptions {
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
fn notice(event: &Event, report: &Report) {
    match event {
        Event::Connected => {
            info!("connected to NATS");
            turn(&report.link, Link::Up);
        }
        Event::Disconnected => {
            warn!("lost NATS; trying again until it is back");
            turn(&report.link, Link::Down);
        }
        Event::LameDuckMode => info!("NATS is about to stop"),
        Event::Draining | Event::Closed => debug!(%event, "NATS connection"),
        Event::ServerError(ServerError::Other(said)) if said.starts_with("Permissions Violation") => {
            report.refused.fetch_add(1, Ordering::Relaxed);
            error!(said, "NATS refused; expected its users.conf to be of this version: {KEYS_ADVICE}");
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            error!("NATS does not know our key any more: {KEYS_ADVICE}");
        }
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
