//! The life of the service: what is started, in which order it ends.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use actions::{Actions, Numbers};
use anyhow::{Context as _, anyhow};
use bus::{Bucket, BucketName, Bus, Holding, Lease, Link, User};
use service::{Component, Context, Tasks};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    chat::Chat,
    config::{Account, App, Config, GRANTED_TO_ALL, MAX_MESSAGES_PER_30S},
    directory::Directory,
    joins::{JOIN_WINDOW, JOINS, PER_CONNECTION},
    ledger::Ledger,
    limiter::Limiter,
    mapping::Mapper,
    pace::{Pace, Shared},
    publish::{Publisher, QUEUED_EVENTS},
    reading::{self, Reading},
    roll::Roll,
    rooms::Rooms,
    send::{Memory, Speaker, breaker::Breaker, helix, helix::Helix},
    slot::Slot,
    stats::Stats,
    stop::{self, Step, Stop},
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
/// waits until NATS has every event, each for as long as [`Stop`] allows.
///
/// # Errors
/// When NATS cannot be reached or is not provisioned.
pub async fn run(ctx: Context, config: Config) -> anyhow::Result<()> {
    let nats = ctx.health.component("nats");
    let (twitch, actions) = (ctx.health.component("twitch"), ctx.health.component("actions"));
    let connected = presence::connect(&ctx, User::TwitchGateway, &config.nats);
    let Some(bus) = connected.await? else { return Ok(()) };
    presence::follow_link(&ctx, nats, &bus, AWAY);
    let stats = Stats::new(&ctx.metrics);
    let announcement = presence::announce(&ctx, &bus).await?;
    let off = match (&config.account, config.channels.is_empty()) {
        (None, _) => Some(config.off_because),
        (Some(_), true) => Some("TWITCH_CHANNELS names no channel"),
        (Some(_), false) => None,
    };
    let stop = match (off, config.account.clone()) {
        (None, Some(account)) => {
            // It is large, and made once in the life of a service.
            let opened = Box::pin(Opened::open(&ctx, &config, &account, &bus));
            match ctx.shutdown.run_until_cancelled(opened).await {
                Some(opened) => opened?.run(&ctx, &config, account, stats, twitch, actions).await?,
                None => Stop::begin(),
            }
        }
        (reason, _) => {
            let reason = reason.unwrap_or_default();
            twitch.off(reason);
            actions.off(reason);
            ctx.shutdown.cancelled().await;
            Stop::begin()
        }
    };
    drop(announcement);
    stop.step(Step::Bus, bus.drain()).await;
    Ok(())
}

/// What NATS has to give before anything can begin.
struct Opened {
    bus: Bus,
    session: Bucket,
    roll: Roll,
    lease: Arc<Lease>,
    ledger: Ledger,
    limiter: Arc<Limiter>,
}

impl Opened {
    async fn open(ctx: &Context, config: &Config, account: &Account, bus: &Bus) -> anyhow::Result<Self> {
        warn_of_limit(config.messages_per_30s);
        let session = bus.bucket(BucketName::Session).await?;
        let roll = Roll::open(session.clone(), &account.login, &ctx.instance).await?;
        let lease = join(ctx, account, bus).await?;
        let (ledger, limiter) =
            Ledger::open(session.clone(), &account.login, config.messages_per_30s, lease.held()).await;
        Ok(Self { bus: bus.clone(), session, roll, lease, ledger, limiter })
    }

    async fn run(
        self,
        ctx: &Context,
        config: &Config,
        account: Account,
        stats: Stats,
        twitch: Component,
        actions: Component,
    ) -> anyhow::Result<Stop> {
        let Self { bus, session, roll, lease, ledger, limiter } = self;
        let http =
            helix::client().context("no HTTP client: are there trusted certificates on this system?")?;
        let slots: Vec<Vec<String>> =
            config.channels.chunks(PER_CONNECTION).map(<[String]>::to_vec).collect();
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
            stats,
            mapper: Mutex::new(Mapper::new(&account.login, &config.prefix)),
            own_id: OnceLock::new(),
        });
        let validity = watch::Sender::new(Validity::Unknown);
        let speaker = Speaker {
            chat: chat.clone(),
            helix: config.app.clone().map(|app| helix(ctx, config, app, &chat.stats, http.clone())),
            limiter: limiter.clone(),
            http: http.clone(),
            api_url: config.api_url.clone(),
            token: account.token.clone(),
            validity: validity.subscribe(),
            memory: Memory::default(),
        };

        // Chat ends after the last action was carried out, and the publisher after the last event.
        let mut connections = Crew::new(&ctx.tasks);
        let leave = connections.leave.clone();
        for number in 0..slots.len() {
            let slot = Slot { number, chat: chat.clone(), validity: validity.subscribe() };
            connections.spawn("slot", slot.run(leave.clone()));
        }
        let drained = CancellationToken::new();
        let reading = Reading {
            lease: lease.clone(),
            instance: ctx.instance.clone(),
            chat: chat.clone(),
            joined: roll.joined(),
            limiter,
            drained: drained.clone(),
        };
        connections.spawn("reading", reading.run(leave.clone()));
        connections.spawn("roll", roll.run(chat.rooms.clone(), lease.held(), leave.clone()));
        let directory =
            Directory { bucket: session, login: account.login.clone(), rooms: chat.rooms.clone() };
        connections.spawn("directory", directory.run(leave.clone()));
        connections.spawn("logins", log_in.run(leave.clone()));
        connections.spawn("joins", join.run(leave.clone()));
        connections.spawn("ledger", ledger.run(leave.clone()));
        let watchman = Watchman {
            auth_url: config.auth_url.clone(),
            account,
            app: config.app.as_ref().map(|app| app.client_id.clone()),
            http,
            chat: chat.clone(),
            health: twitch,
            validity,
        };
        connections.spawn("token", watchman.run(leave));
        let mut publishing = Crew::new(&ctx.tasks);
        let publisher = Publisher::new(bus.clone(), &chat, lease.held());
        publishing.spawn("publish", publisher.run(queue));

        let actions = Actions::new(bus.clone(), speaker, Numbers::new(&ctx.metrics), actions);
        let (stop, outcome) = work(ctx, actions, &lease).await;
        drained.cancel();
        stop.step(Step::HandOver, hand_over(&lease, &bus, stop.left(Step::HandOver))).await;
        connections.end(&stop, Step::Chat).await;
        // The last sender of events: the publisher ends, and NATS may be left after it.
        drop(chat);
        publishing.end(&stop, Step::Events).await;
        outcome.map(|()| stop)
    }
}

/// Tasks that end together, and certainly.
struct Crew<'a> {
    tasks: &'a Tasks,
    tracker: TaskTracker,
    /// Asks them to end.
    leave: CancellationToken,
    /// Ends them.
    abandoned: CancellationToken,
}

impl<'a> Crew<'a> {
    fn new(tasks: &'a Tasks) -> Self {
        let [leave, abandoned] = [CancellationToken::new(), CancellationToken::new()];
        Self { tasks, tracker: TaskTracker::new(), leave, abandoned }
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let task = stop::unless(self.abandoned.clone(), task);
        self.tasks.spawn(name, self.tracker.track_future(task));
    }

    async fn end(self, stop: &Stop, step: Step) {
        self.leave.cancel();
        self.tracker.close();
        stop.step(step, self.tracker.wait()).await;
        self.abandoned.cancel();
    }
}

/// Carries out actions until the gateway should end; then ends that.
async fn work(ctx: &Context, actions: Actions<Speaker>, lease: &Arc<Lease>) -> (Stop, anyhow::Result<()>) {
    let mut working = pin!(actions.run_leased(lease.clone(), ctx.shutdown.clone()));
    let ended = tokio::select! {
        biased;
        () = ctx.shutdown.cancelled() => None,
        outcome = &mut working => Some(outcome.context("actions of Twitch")),
        () = replaced(lease.held()) => Some(Err(anyhow!(
            "another twitch-gateway runs under the name of this one: give each its own VIGIE_INSTANCE"
        ))),
    };
    let stop = Stop::begin();
    // What ends from here on was asked to.
    ctx.shutdown.cancel();
    let outcome = match ended {
        Some(outcome) => outcome,
        None => match stop.step(Step::Actions, working).await {
            Some(outcome) => outcome.context("actions of Twitch"),
            None => Ok(()),
        },
    };
    (stop, outcome)
}

fn helix(ctx: &Context, config: &Config, app: App, stats: &Stats, http: reqwest::Client) -> Helix {
    let health = ctx.health.component("api");
    Helix {
        api_url: config.api_url.clone(),
        app: AppToken::new(app, &config.auth_url, http.clone()),
        http,
        breaker: Breaker::new(config.timing.api_pauses(), health, stats.api_failures.clone()),
    }
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
async fn hand_over(lease: &Lease, bus: &Bus, left: Duration) {
    if *bus.link().borrow() == Link::Down {
        return;
    }
    let within = HAND_OVER_WITHIN.min(left.saturating_sub(LEAVE_WITHIN));
    if timeout(within + LEAVE_WITHIN, lease.leave(within)).await.is_err() {
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
