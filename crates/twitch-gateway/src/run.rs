//! The life of the service: what is started, in which order it ends.

use std::sync::{Arc, Mutex, OnceLock};

use actions::{Actions, Numbers, Owned};
use anyhow::Context as _;
use bus::{BucketName, Bus, Link};
use service::{Component, Context};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    chat::Chat,
    config::{Account, Config, GRANTED_TO_ALL, MAX_MESSAGES_PER_30S},
    joins::{JOIN_WINDOW, JOINS, PER_CONNECTION},
    ledger::Ledger,
    limiter::Window,
    mapping::Mapper,
    publish::{Publisher, QUEUED_EVENTS},
    rooms::Rooms,
    send::{Memory, Speaker, helix, helix::Helix},
    slot::Slot,
    stats::{self, Stats},
    tokens::{AppToken, Validity, Watchman},
};

/// What the probes say when the link is down.
const AWAY: &str = "NATS cannot be reached; trying again";

/// Runs the gateway until `ctx.shutdown`; then finishes what is being sent, leaves the chat, and
/// waits until NATS has every event.
///
/// # Errors
/// When NATS cannot be reached or is not provisioned.
pub async fn run(ctx: Context, config: Config) -> anyhow::Result<()> {
    let nats = ctx.health.component("nats");
    let (twitch, actions) = (ctx.health.component("twitch"), ctx.health.component("actions"));
    let bus = Bus::connect(bus::Options { url: config.nats_url.clone(), name: ctx.instance.clone() }).await?;
    let away = |link: &Link| (*link == Link::Down).then(|| AWAY.to_owned());
    ctx.tasks.spawn("link", nats.follow(bus.link(), away, ctx.shutdown.clone()));
    let stats = Stats::new(&ctx.metrics);
    let announcement = bus.announce(ctx.name, stats::reporter(&ctx)).await?;
    let off = match (&config.account, config.channels.is_empty()) {
        (None, _) => Some(config.off_because),
        (Some(_), true) => Some("TWITCH_CHANNELS names no channel"),
        (Some(_), false) => None,
    };
    match (off, config.account.clone()) {
        (None, Some(account)) => chat(&ctx, &config, account, &bus, stats, twitch, actions).await?,
        (reason, _) => {
            let reason = reason.unwrap_or_default();
            twitch.off(reason);
            actions.off(reason);
            ctx.shutdown.cancelled().await;
        }
    }
    drop(announcement);
    bus.drain().await;
    Ok(())
}

async fn chat(
    ctx: &Context,
    config: &Config,
    account: Account,
    bus: &Bus,
    stats: Stats,
    twitch: Component,
    actions: Component,
) -> anyhow::Result<()> {
    warn_of_limit(config.messages_per_30s);
    let session = bus.bucket(BucketName::Session).await?;
    let (ledger, limiter) = Ledger::open(session, &account.login, config.messages_per_30s).await;
    let http = helix::client().context("no HTTP client: are there trusted certificates on this system?")?;
    let slots: Vec<Vec<String>> = config.channels.chunks(PER_CONNECTION).map(<[String]>::to_vec).collect();
    let (events, queue) = mpsc::channel(QUEUED_EVENTS);
    let chat = Arc::new(Chat {
        login: account.login.clone(),
        token: account.token.clone(),
        endpoint: config.irc.clone(),
        timing: config.timing,
        rooms: Rooms::new(&slots, twitch.clone(), stats.rooms.clone()),
        events,
        logins: Window::new(JOINS, JOIN_WINDOW),
        joins: Window::new(JOINS, JOIN_WINDOW),
        confirms: Default::default(),
        stats: stats.clone(),
        mapper: Mutex::new(Mapper::new(&account.login, &config.prefix)),
        own_id: OnceLock::new(),
    });
    let validity = watch::Sender::new(Validity::Unknown);
    let speaker = Speaker {
        chat: chat.clone(),
        helix: config.app.clone().map(|app| Helix {
            api_url: config.api_url.clone(),
            app: AppToken::new(app, &config.auth_url, http.clone()),
            http: http.clone(),
        }),
        limiter,
        http: http.clone(),
        api_url: config.api_url.clone(),
        token: account.token.clone(),
        validity: validity.subscribe(),
        memory: Memory::default(),
    };

    // Chat ends after the last action was carried out, and the publisher after the last event.
    let leave = CancellationToken::new();
    let connections = TaskTracker::new();
    for (number, logins) in slots.into_iter().enumerate() {
        let slot = Slot { number, logins, chat: chat.clone(), validity: validity.subscribe() };
        let running = connections.track_future(slot.run(leave.clone()));
        ctx.tasks.spawn("slot", running);
    }
    let recording = connections.track_future(ledger.run(leave.clone()));
    ctx.tasks.spawn("ledger", recording);
    connections.close();
    let watchman = Watchman {
        auth_url: config.auth_url.clone(),
        account,
        app: config.app.as_ref().map(|app| app.client_id.clone()),
        http,
        chat: chat.clone(),
        health: twitch,
        validity,
    };
    let watching = connections.track_future(watchman.run(leave.clone()));
    ctx.tasks.spawn("token", watching);
    let publishing = TaskTracker::new();
    let publisher = Publisher::new(bus.clone(), stats.clone());
    ctx.tasks.spawn("publish", publishing.track_future(publisher.run(queue)));
    publishing.close();
    let actions = Actions::new(bus.clone(), speaker, Numbers::new(&ctx.metrics), actions);
    let outcome = actions.run(Owned::all(), ctx.shutdown.clone()).await;
    leave.cancel();
    connections.wait().await;
    // The last sender of events: the publisher ends, and NATS may be left after it.
    drop(chat);
    publishing.wait().await;
    outcome.context("actions of Twitch")
}

/// Between what Twitch grants everybody and what it grants verified bots there is nothing.
fn warn_of_limit(per_30s: usize) {
    if (GRANTED_TO_ALL + 1..MAX_MESSAGES_PER_30S).contains(&per_30s) {
        warn!(
            TWITCH_MESSAGES_PER_30S = per_30s,
            "Twitch grants {GRANTED_TO_ALL} messages in 30 s, or {MAX_MESSAGES_PER_30S} to a verified bot; where the \
             bot is moderator its 100 hold by themselves. Too high a number costs an hour of silence: leave it \
             out unless the bot is verified"
        );
    }
}
