//! The life of the service: what is started, in which order it ends.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use actions::{Actions, Numbers};
use anyhow::{Context as _, anyhow};
use bus::{BucketName, Bus, Holding, Lease, Link};
use service::{Component, Context};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    chat::Chat,
    config::{Account, Config, GRANTED_TO_ALL, MAX_MESSAGES_PER_30S},
    directory::Directory,
    joins::{JOIN_WINDOW, JOINS, PER_CONNECTION},
    ledger::Ledger,
    mapping::Mapper,
    pace::{Pace, Shared},
    publish::{Publisher, QUEUED_EVENTS},
    reading::{self, Reading},
    rooms::Rooms,
    send::{Memory, Speaker, helix, helix::Helix},
    slot::Slot,
    stats::{self, Stats},
    tokens::{AppToken, Validity, Watchman},
};

/// What the probes say when the link is down.
const AWAY: &str = "NATS cannot be reached; trying again";
/// What the probes say while the lease is not confirmed.
const FENCED: &str = "NATS has not confirmed what this gateway owns; it acts on nothing until it does";
/// How long a gateway that ends goes on reading until another one has joined its channels and has what
/// it owned.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// How long the lease may take to end beside that.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

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
    let lease = join(ctx, &account, bus).await?;
    let (ledger, limiter) =
        Ledger::open(session.clone(), &account.login, config.messages_per_30s, lease.held()).await;
    let http = helix::client().context("no HTTP client: are there trusted certificates on this system?")?;
    let slots: Vec<Vec<String>> = config.channels.chunks(PER_CONNECTION).map(<[String]>::to_vec).collect();
    let (events, queue) = mpsc::channel(QUEUED_EVENTS);
    let shared = Shared { bucket: session.clone(), link: bus.link(), login: account.login.clone() };
    let (logins, log_in) = Pace::new(&shared, "logins", JOINS, JOIN_WINDOW);
    let (joins, join) = Pace::new(&shared, "joins", JOINS, JOIN_WINDOW);
    let chat = Arc::new(Chat {
        login: account.login.clone(),
        token: account.token.clone(),
        endpoint: config.irc.clone(),
        timing: config.timing,
        rooms: Arc::new(Rooms::new(&slots, twitch.clone(), stats.rooms.clone())),
        events,
        logins,
        joins,
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
        limiter: limiter.clone(),
        http: http.clone(),
        api_url: config.api_url.clone(),
        token: account.token.clone(),
        validity: validity.subscribe(),
        memory: Memory::default(),
    };

    // Chat ends after the last action was carried out, and the publisher after the last event.
    let leave = CancellationToken::new();
    let connections = TaskTracker::new();
    for number in 0..slots.len() {
        let slot = Slot { number, chat: chat.clone(), validity: validity.subscribe() };
        ctx.tasks.spawn("slot", connections.track_future(slot.run(leave.clone())));
    }
    let drained = CancellationToken::new();
    let reading = Reading {
        lease: lease.clone(),
        instance: ctx.instance.clone(),
        chat: chat.clone(),
        limiter,
        drained: drained.clone(),
    };
    ctx.tasks.spawn("reading", connections.track_future(reading.run(leave.clone())));
    let directory = Directory { bucket: session, login: account.login.clone(), rooms: chat.rooms.clone() };
    ctx.tasks.spawn("directory", connections.track_future(directory.run(leave.clone())));
    ctx.tasks.spawn("logins", connections.track_future(log_in.run(leave.clone())));
    ctx.tasks.spawn("joins", connections.track_future(join.run(leave.clone())));
    ctx.tasks.spawn("ledger", connections.track_future(ledger.run(leave.clone())));
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
    let publisher = Publisher::new(bus.clone(), &chat, lease.held());
    ctx.tasks.spawn("publish", publishing.track_future(publisher.run(queue)));
    publishing.close();
    let actions = Actions::new(bus.clone(), speaker, Numbers::new(&ctx.metrics), actions);
    let outcome = tokio::select! {
        outcome = actions.run_leased(lease.clone(), ctx.shutdown.clone()) => outcome.context("actions of Twitch"),
        () = replaced(lease.held()) => Err(anyhow!(
            "another twitch-gateway runs under the name of this one: give each its own VIGIE_INSTANCE"
        )),
    };
    drained.cancel();
    hand_over(&lease, bus).await;
    leave.cancel();
    connections.wait().await;
    // The last sender of events: the publisher ends, and NATS may be left after it.
    drop(chat);
    publishing.wait().await;
    outcome
}

/// Becomes one of the gateways of the account.
async fn join(ctx: &Context, account: &Account, bus: &Bus) -> anyhow::Result<Arc<Lease>> {
    let (_, resources) = watch::channel(reading::resources());
    let lease = bus.join(&format!("twitch-{}", account.login), &ctx.instance, resources).await?;
    let fenced = |holding: &Holding| holding.fenced.then(|| FENCED.to_owned());
    let health = ctx.health.component("lease");
    ctx.tasks.spawn("lease", health.follow(lease.held(), fenced, ctx.shutdown.clone()));
    Ok(Arc::new(lease))
}

/// Resolves when another process has taken the name of this one.
async fn replaced(mut held: watch::Receiver<Holding>) {
    if held.wait_for(|holding| holding.replaced).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Gives all to the others, and goes on reading until they have it. Where nobody can be asked, they will
/// notice.
async fn hand_over(lease: &Lease, bus: &Bus) {
    if *bus.link().borrow() == Link::Up
        && timeout(HAND_OVER_WITHIN + LEAVE_WITHIN, lease.leave(HAND_OVER_WITHIN)).await.is_err()
    {
        warn!("NATS does not answer; others take over in some seconds");
    }
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
