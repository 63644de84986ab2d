//! The local Twitch: chat over IRC (plain, TLS, WebSocket), Helix, OAuth and EventSub over WebSocket.
//!
//! [`Twitch`] is the handle that tests, the control API and the chat page hold. What must be the same
//! over all ways in (limits, who may speak, how a message spreads) is in `post`, `limits` and `world`;
//! each way in has a folder of its own. It serves no conduits, webhooks or whispers.

mod actions;
pub mod eventsub;
mod faults;
mod helix;
mod irc;
mod limits;
mod oauth;
mod people;
mod post;
mod tls;
mod transport;
mod world;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{
    faults::{Change, Faults, Settings},
    limits::Limits,
    people::Standing,
    transport::Transport,
};
use crate::{
    counters::Counters,
    feed::{self, Feed},
};

/// How a local Twitch is furnished.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bot of the demo.
    pub bot: Bot,
    /// Further bots, each with an account of its own.
    pub more_bots: Vec<Bot>,
    /// Client id of the one application there is.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Logins of the channels people use. Olive owns all of them, Max moderates all of them. The
    /// broadcaster's tokens are `sandbox-LOGIN` and `sandbox-refresh-LOGIN`.
    pub channels: Vec<String>,
    /// Quiet channels `channel_0000` and on, for load tests.
    pub extra_channels: usize,
    /// Further moderators: channel login and account login.
    pub moderators: Vec<(String, String)>,
    /// Channels whose broadcaster let the application in (`channel:bot`), so that it may send there
    /// with an app access token without being a moderator.
    pub channel_bot: Vec<String>,
    /// Limits of every bot account.
    pub limits: Limits,
    /// Between two PINGs of the server. Twitch: about 5 minutes.
    pub ping_every: Duration,
    /// How long the PONG may take.
    pub pong_within: Duration,
    /// Between RECONNECT and the end of the connection; Twitch does not say how long it waits.
    pub reconnect_grace: Duration,
    /// How long the tokens given here live.
    pub token_lifetime: Duration,
    /// How long a refreshed token lives. Twitch: about 4 hours.
    pub refreshed_token_lifetime: Duration,
    /// What the bots' accounts granted beyond reading and talking, such as
    /// `moderator:manage:chat_messages`.
    pub more_scopes: Vec<String>,
    /// How long after it was said a message can be deleted over Helix. Twitch: 6 hours.
    pub deletable_for: Duration,
    /// Times of EventSub.
    pub eventsub: eventsub::Options,
}

/// A bot's account and tokens.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Login, in lower case.
    pub login: String,
    /// User access token, without `oauth:`.
    pub token: String,
    /// Its refresh token.
    pub refresh_token: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bot: Bot {
                login: "vigie_bot".to_owned(),
                token: "sandbox-token".to_owned(),
                refresh_token: "sandbox-refresh".to_owned(),
            },
            more_bots: Vec::new(),
            client_id: "sandbox-client".to_owned(),
            client_secret: "sandbox-secret".to_owned(),
            channels: vec!["vigie_demo".to_owned(), "quiet_corner".to_owned()],
            extra_channels: 0,
            // As most streamers do with their bot. In the quiet corner it is an ordinary viewer.
            moderators: vec![("vigie_demo".to_owned(), "vigie_bot".to_owned())],
            channel_bot: vec!["vigie_demo".to_owned()],
            limits: Limits::normal(),
            ping_every: Duration::from_secs(300),
            pong_within: Duration::from_secs(10),
            reconnect_grace: Duration::from_secs(5),
            token_lifetime: Duration::from_secs(60 * 24 * 3600),
            refreshed_token_lifetime: Duration::from_secs(4 * 3600),
            more_scopes: Vec::new(),
            deletable_for: Duration::from_secs(6 * 3600),
            eventsub: eventsub::Options::default(),
        }
    }
}

/// A channel people can talk in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelInfo {
    /// Login, without `#`.
    pub login: String,
    /// Id of the broadcaster.
    pub id: String,
    /// Whether it is live.
    pub live: bool,
}

/// Why something cannot be done, in a sentence for the person who tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such channel.
    #[error("there is no twitch channel {0}; choose one of those listed")]
    NoSuchChannel(String),
    /// There is no such account.
    #[error("there is no twitch account {0}")]
    NoSuchAccount(String),
    /// There is no such message, or it is too old to be known.
    #[error("there is no such message any more")]
    NoSuchMessage,
    /// Nothing to say.
    #[error("type something first")]
    Empty,
    /// More than 500 characters.
    #[error("a twitch message has at most 500 characters, this one has {0}")]
    TooLong(usize),
    /// The account may not talk there.
    #[error("{0} is banned or timed out in this channel")]
    Banned(String),
    /// The channel is suspended.
    #[error("the channel {0} is suspended")]
    Suspended(String),
    /// The person may not do that.
    #[error("only the broadcaster and moderators can do that, and not to the broadcaster")]
    NoPermission,
}

/// The local Twitch; cheap to clone.
#[derive(Clone, Debug)]
pub struct Twitch(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) counters: Counters,
    pub(crate) feed: Feed,
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) eventsub: eventsub::Hub,
    pub(crate) buckets: helix::Buckets,
    pub(crate) tls: tls::Tls,
    base_url: Mutex<String>,
    state: Mutex<world::State>,
    tokens: Mutex<oauth::Tokens>,
    connections: AtomicU64,
}

impl Twitch {
    /// A Twitch with nobody connected.
    #[must_use]
    pub fn new(counters: Counters, feed: Feed, options: Options) -> Self {
        Self(Arc::new(Inner {
            eventsub: eventsub::Hub::new(counters.clone(), options.eventsub),
            buckets: helix::Buckets::default(),
            tls: tls::Tls::default(),
            base_url: Mutex::new("http://127.0.0.1".to_owned()),
            state: Mutex::new(world::State::new(&options)),
            tokens: Mutex::new(oauth::Tokens::new(&options)),
            connections: AtomicU64::new(0),
            faults: Faults::default(),
            counters,
            feed,
            options,
        }))
    }

    /// Where the HTTP side is reached, such as `http://127.0.0.1:8080`; told once it is bound.
    pub fn set_base_url(&self, http: &str) {
        http.trim_end_matches('/').clone_into(&mut lock(&self.0.base_url));
    }

    /// Helix under `/helix`, OAuth under `/oauth2`, EventSub under `/eventsub/ws`; and all of them once
    /// more where clients look that were told to use twitch-cli's mock: `/mock`, `/auth`, `/ws` and
    /// `/eventsub/subscriptions`.
    pub fn router(&self) -> Router {
        let twitch = &self.0;
        Router::new()
            .nest("/helix", helix::router(twitch))
            .nest("/mock", helix::router(twitch))
            .nest("/oauth2", oauth::router())
            .nest("/auth", oauth::router())
            .merge(helix::subscriptions_only(twitch))
            .route("/eventsub/ws", get(eventsub::socket::open))
            .route("/ws", get(eventsub::socket::open))
            .with_state(twitch.clone())
    }

    /// Serves chat on a listener until `shutdown`.
    pub async fn serve_irc(&self, listener: TcpListener, transport: Transport, shutdown: CancellationToken) {
        transport::serve(self.0.clone(), listener, transport, shutdown).await;
    }

    /// The self-signed certificate of chat over TLS. Empty if none could be made, which is logged.
    pub fn tls_certificate_pem(&self) -> String {
        self.0.tls.pem().unwrap_or_else(|error| {
            tracing::error!(%error, "there is no certificate");
            String::new()
        })
    }

    /// Every channel, by login.
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let state = self.0.state();
        let mut channels: Vec<ChannelInfo> = state
            .channels
            .values()
            .map(|channel| ChannelInfo {
                login: channel.login.clone(),
                id: channel.owner.id.clone(),
                live: channel.live.is_some(),
            })
            .collect();
        // Those that people use come first, in the order of the options.
        let place = |login: &str| self.0.options.channels.iter().position(|known| known == login);
        channels.sort_by_cached_key(|channel| {
            (place(&channel.login).unwrap_or(usize::MAX), channel.login.clone())
        });
        channels
    }

    /// The last lines of a channel, oldest first; at most 200.
    pub fn history(&self, channel: &str) -> Vec<feed::Line> {
        let state = self.0.state();
        let found = state.channels.get(channel.trim_start_matches('#'));
        found.map(world::Channel::history).unwrap_or_default()
    }

    /// How many connections are given what is said in a channel. Nobody gets it later.
    pub fn hearing(&self, channel: &str) -> usize {
        let state = self.0.state();
        state.channels.get(channel.trim_start_matches('#')).map_or(0, |channel| channel.members.len())
    }

    /// The fault knobs.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Cuts every IRC connection and every EventSub socket without a word.
    pub fn drop_connections(&self) {
        for connection in self.0.state().open.values() {
            connection.dropped.cancel();
        }
        self.0.eventsub.drop_all();
    }

    /// Sends RECONNECT to every IRC client and ends its connection a little later; sends
    /// `session_reconnect` to every EventSub socket.
    pub fn reconnect_all(&self) {
        let line = irc::line::Shared::untagged(":tmi.twitch.tv RECONNECT", irc::caps::COMMANDS);
        for client in self.0.state().clients.values() {
            if client.connection.send(&line) {
                self.0.counters.add("twitch.irc.reconnect_sent");
            }
            client.connection.close_in(self.0.options.reconnect_grace);
        }
        let base = lock(&self.0.base_url).replacen("http", "ws", 1);
        self.0.eventsub.reconnect_all(&format!("{base}/eventsub/ws"));
    }

    /// Closes every EventSub socket with a code, such as 4000 or 4005.
    pub fn close_eventsub(&self, code: u16) {
        self.0.eventsub.close_all(code);
    }

    /// Revokes every EventSub subscription with a status, such as `authorization_revoked`; says how
    /// many there were.
    pub fn revoke_subscriptions(&self, status: &'static str) -> usize {
        self.0.eventsub.revoke(status, |_| true)
    }

    /// Makes an access token unknown; its EventSub subscriptions are revoked. `false` when it was.
    pub fn revoke_token(&self, token: &str) -> bool {
        self.0.revoke_token(token)
    }

    /// Lets an access token run out now. `false` when it is not known.
    pub fn expire_token(&self, token: &str) -> bool {
        self.0.tokens().expire(token)
    }

    /// Takes the points of every Helix bucket, so that the next requests are answered 429.
    pub fn exhaust_helix(&self) {
        self.0.buckets.exhaust();
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, world::State> {
        lock(&self.state)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, oauth::Tokens> {
        lock(&self.tokens)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn revoke_token(&self, token: &str) -> bool {
        let login = self.tokens().valid(token).and_then(|token| token.login.clone());
        let revoked = self.tokens().revoke(token);
        let account = login.and_then(|login| self.state().accounts.get(&login).cloned());
        if let Some(account) = account {
            self.eventsub.revoke("authorization_revoked", |sub| sub.user_id == account.id);
        }
        revoked
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
