//! The life of the gateway: connect, find out who it is, start everything, and at the end drain in
//! the order in which nothing is lost: stop reading, store what was read, keep the cursor.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actions::{Actions, Numbers};
use bus::{Bucket, BucketError, BucketName, Bus, Handover, Holding, Lease, Link, Options};
use service::Context;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use twilight_gateway::{ConfigBuilder, ShardId};
use twilight_http::Client;

use crate::{
    Config,
    cursor::Progress,
    discover::{Discover, Identity},
    execute::Executor,
    facts::Facts,
    frame::Snowflake,
    identify::{Granted, Identify, SharedTurn},
    interactions::{self, Answerer},
    publish::Publisher,
    reader::{self, Reader},
    rest::{
        Rest, RestError, Trouble,
        budget::{Slot, WINDOW_MS},
    },
    shard::{self, INTENTS, Shard, Shared as Common},
    shards::{self, Shards},
    slash::Slash,
    stats::{Stats, service_stats},
    streak::Streak,
};

/// The key under which the budget of refused requests is kept; it is the address's, not the bot's.
const BUDGET_KEY: &str = "discord.invalid-requests";
/// What each gateway has spent, by instance.
type Budgets = BTreeMap<String, Vec<Slot>>;
/// How often it is kept.
const BUDGET_INTERVAL: Duration = Duration::from_secs(1);
/// After Discord refused the token while everything ran, the process ends after this time: a restart
/// reads the setting again.
const TOKEN_GRACE: Duration = Duration::from_secs(30);

/// How long a stop may take, the last words on the wire aside; the rest is done again by the next process.
const STOP_LIMIT: Duration = Duration::from_millis(3200);
/// How long the last words may take.
const LEAVE_LIMIT: Duration = Duration::from_millis(1200);

/// How long the others may take to get what this gateway had.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(500);

/// What the probes say when the link is down.
const AWAY: &str = "NATS is away; what is read is kept until it is back";
/// What the probes say while the lease is not confirmed.
const FENCED: &str = "NATS has not confirmed what this gateway owns; it acts on nothing until it does";

/// What everything needs.
struct Parts {
    ctx: Context,
    bus: Bus,
    session: Bucket,
    rest: Arc<Rest>,
    builder: Arc<Client>,
    stats: Arc<Stats>,
    /// The tasks that carry out actions.
    acting: TaskTracker,
    /// What this gateway owns of what all gateways of the bot share, once it is known which bot it is.
    lease: OnceLock<Arc<Lease>>,
}

/// Runs the gateway until the service is asked to stop.
///
/// # Errors
/// When NATS cannot be reached, Discord refuses the token, or something that must not end did.
pub async fn run(ctx: Context, config: Config) -> anyhow::Result<()> {
    let nats = ctx.health.component("nats");
    let stats = Arc::new(Stats::new(&ctx));
    let connected = async {
        let bus = Bus::connect(Options { url: config.nats_url.clone(), name: ctx.instance.clone() }).await?;
        let away = |link: &Link| (*link == Link::Down).then(|| AWAY.to_owned());
        ctx.tasks.spawn("nats-link", nats.follow(bus.link(), away, ctx.shutdown.clone()));
        let announcement = bus.announce(ctx.name, service_stats(&ctx)).await?;
        anyhow::Ok((bus, announcement))
    };
    let Some((bus, announcement)) = unless_stopped(&ctx.shutdown, connected).await? else {
        return Ok(());
    };
    let Some(token) = config.token.clone() else {
        stats.discord().off("DISCORD_TOKEN is not set");
        ctx.shutdown.cancelled().await;
        drop(announcement);
        leave(&bus).await;
        return Ok(());
    };
    let opened = async { Ok(bus.bucket(BucketName::Session).await?) };
    let Some(session) = unless_stopped(&ctx.shutdown, opened).await? else { return Ok(()) };
    let rest = Rest::new(&config.api_url, &token, config.requests_per_second, stats.clock_ahead_s.clone())?;
    let parts = Arc::new(Parts {
        session,
        rest: Arc::new(rest),
        builder: Arc::new(Client::builder().ratelimiter(None).build()),
        acting: TaskTracker::new(),
        lease: OnceLock::new(),
        stats,
        ctx,
        bus,
    });
    let mut serving = std::pin::pin!(parts.clone().serve(config));
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = parts.token_refused() => {
            // What was read is stored nevertheless.
            parts.ctx.shutdown.cancel();
            serving.await.and(Err(RestError::TokenRefused.into()))
        }
    };
    drop(announcement);
    parts.ctx.shutdown.cancel();
    parts.acting.close();
    // What is being sent is acknowledged before the connection goes.
    if timeout(STOP_LIMIT, parts.acting.wait()).await.is_err() {
        warn!("actions were left behind; they are tried again by the next process");
    }
    parts.hand_over().await;
    leave(&parts.bus).await;
    outcome
}

/// Says goodbye, which waits for room in the client's queue while NATS is away.
async fn leave(bus: &Bus) {
    if timeout(LEAVE_LIMIT, bus.drain()).await.is_err() {
        warn!("NATS does not answer; leaving without a word");
    }
}

/// `None` when the service was asked to stop first.
async fn unless_stopped<T>(
    shutdown: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    tokio::select! {
        outcome = work => outcome.map(Some),
        () = shutdown.cancelled() => Ok(None),
    }
}

impl Parts {
    async fn serve(self: Arc<Self>, config: Config) -> anyhow::Result<()> {
        let shutdown = self.ctx.shutdown.clone();
        let Some(mut running) = unless_stopped(&shutdown, self.start(config)).await? else {
            return Ok(());
        };
        let outcome = tokio::select! {
            Some(ended) = running.join_next() => ended.map_err(anyhow::Error::from).and_then(|outcome| outcome),
            () = shutdown.cancelled() => Ok(()),
        };
        shutdown.cancel();
        // What is still running when the time is over is aborted with the set.
        let stopped = timeout(STOP_LIMIT, async {
            let mut outcome = outcome;
            while let Some(ended) = running.join_next().await {
                outcome = outcome.and(ended.map_err(anyhow::Error::from).and_then(|outcome| outcome));
            }
            if let Err(error) = save_budget(&self.session, &self.rest, &self.ctx.instance).await {
                warn!(%error, "the budget of refused requests was not kept");
            }
            outcome
        });
        stopped.await.unwrap_or_else(|_| {
            warn!("NATS does not answer; what was read last is read again after the restart");
            Ok(())
        })
    }

    /// Starts everything, each shard and the answerer as tasks of their own.
    async fn start(self: &Arc<Self>, config: Config) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        self.restore_budget().await;
        let discover = Discover {
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            stats: self.stats.clone(),
            api_url: config.api_url.clone(),
        };
        let (identity, gateway) = (discover.identity().await?, discover.gateway().await?);
        let count = config.shards.unwrap_or(gateway.shards).max(1);
        info!(application = %identity.application, shards = count, "discord");
        let lease = self.join(identity, count).await?;
        self.start_actions(lease.clone());
        self.start_slash(&config, identity).await?;

        let (interactions, asked) = mpsc::channel(interactions::QUEUE);
        let key = format!("discord.{}.identify", identity.application);
        let turn = SharedTurn {
            bus: self.bus.clone(),
            key: format!("identify.{}", identity.application),
            instance: self.ctx.instance.clone(),
        };
        let identify =
            Identify::new(gateway.session_start_limit, self.session.clone(), key, Some(turn)).await;
        let twilight = ConfigBuilder::new(self.token(&config), INTENTS).queue(Granted::default()).build();
        let shared = Common {
            twilight,
            fixed_url: config.gateway_url.is_some(),
            gateway_url: config.gateway_url.clone().unwrap_or(gateway.url),
            identify: Arc::new(identify),
            recheck: Arc::new(discover),
            shutdown: self.ctx.shutdown.clone(),
        };
        let context = reader::Context {
            facts: Arc::new(Facts::new(self.rest.clone(), self.builder.clone())),
            stats: self.stats.clone(),
            interactions,
            prefix: config.prefix.as_str().into(),
        };
        let answerer = Answerer {
            bus: self.bus.clone(),
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            stats: self.stats.clone(),
            deferred: Arc::new(Semaphore::new(interactions::MAX_DEFERRED)),
            shutdown: self.ctx.shutdown.clone(),
        };
        let parts = self.clone();
        let start: shards::Start = Box::new(move |id, token| {
            let shared = Common { shutdown: token, ..shared.clone() };
            Box::pin(parts.clone().shard(id, count, shared, context.clone(), identity))
        });
        let shards = Shards::new(lease, count, self.stats.clone(), start);
        let mut running = JoinSet::new();
        running.spawn(shards.run(self.ctx.shutdown.clone()));
        // The shards own all that is left of `context`: once the last one has ended, the answerer does.
        running.spawn(async move {
            answerer.run(asked).await;
            Ok(())
        });
        Ok(running)
    }

    /// Shares the shards and the partitions of actions with the other gateways of the bot.
    async fn join(&self, identity: Identity, count: u32) -> anyhow::Result<Arc<Lease>> {
        let shards = (0..count).map(|shard| shards::resource(shard, count));
        let resources: BTreeMap<_, _> =
            shards.chain(actions::resources()).map(|name| (name, Handover::DrainFirst)).collect();
        // They do not change while this process runs; the lease keeps the last value.
        let (_, resources) = watch::channel(resources);
        let group = format!("discord-{}", identity.application);
        let lease = Arc::new(self.bus.join(&group, &self.ctx.instance, resources).await?);
        let rest = self.rest.clone();
        let heard = move |holding: &Holding| {
            // What Discord grants the bot is for all of them.
            rest.share_with(holding.living);
            holding.fenced.then(|| FENCED.to_owned())
        };
        let health = self.ctx.health.component("lease");
        self.ctx.tasks.spawn("lease", health.follow(lease.held(), heard, self.ctx.shutdown.clone()));
        Ok(self.lease.get_or_init(|| lease).clone())
    }

    /// Nothing is in work any more: the others may have it at once. While NATS is away they cannot.
    async fn hand_over(&self) {
        if let Some(lease) = self.lease.get()
            && *self.bus.link().borrow() == Link::Up
        {
            lease.leave(HAND_OVER_LIMIT).await;
        }
    }

    /// Runs one shard until its token is cancelled, then stores what it read and keeps its cursor.
    async fn shard(
        self: Arc<Self>,
        id: u32,
        count: u32,
        shared: Common,
        context: reader::Context,
        identity: Identity,
    ) -> anyhow::Result<()> {
        let shutdown = shared.shutdown.clone();
        let progress = Progress::new(identity.application, id, count);
        let restoring = async { Ok(progress.restore(&self.session).await?) };
        let Some(restored) = unless_stopped(&shutdown, restoring).await? else { return Ok(()) };
        let user = restored.map_or(identity.user, |cursor| Snowflake(cursor.user));
        let (items, taken) = mpsc::channel(shard::QUEUE);
        let facts = context.facts.clone();
        let reader = Reader::new(id, context, progress.clone(), user);
        let shard = Shard::new(ShardId::new(id, count), shared, reader, items);
        let publisher = Publisher::new(self.bus.clone(), facts, self.stats.clone(), progress.clone());
        let finished = CancellationToken::new();
        let read = async {
            let (outcome, ()) = tokio::join!(shard.run(), publisher.run(taken, shutdown));
            finished.cancel();
            outcome
        };
        let tell = |trouble| match trouble {
            Some(reason) => self.stats.cursor_lost(id, reason),
            None => self.stats.cursor_kept(id),
        };
        let owned = || self.lease.get().is_some_and(|lease| lease.holds(&shards::resource(id, count)));
        let written = progress.write(self.session.clone(), finished.clone(), owned, tell);
        let (outcome, ()) = tokio::join!(read, written);
        outcome
    }

    fn start_actions(&self, lease: Arc<Lease>) {
        let health = self.ctx.health.component("actions");
        let executor = Executor::new(self.rest.clone(), self.builder.clone());
        let actions = Actions::new(self.bus.clone(), executor, Numbers::new(&self.ctx.metrics), health);
        let acting = self.acting.track_future(actions.run_leased(lease, self.ctx.shutdown.clone()));
        self.ctx.tasks.spawn("actions", async { Ok(acting.await?) });
    }

    async fn start_slash(&self, config: &Config, identity: Identity) -> anyhow::Result<()> {
        let slash = Slash {
            application: identity.application,
            guild: config.guild,
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            settings: self.bus.bucket(BucketName::Settings).await?,
            session: self.session.clone(),
        };
        self.ctx.tasks.spawn("slash", slash.run(self.ctx.shutdown.clone()));
        Ok(())
    }

    /// The budget of refused requests goes on where the process before stopped. What other gateways have
    /// spent counts too: it may have been this one under another name.
    async fn restore_budget(&self) {
        match self.session.get::<Budgets>(BUDGET_KEY).await {
            Ok(saved) => {
                let slots: Vec<Slot> = saved.unwrap_or_default().into_values().flatten().collect();
                self.rest.budget().restore(&slots, service::clock::unix_ms());
            }
            Err(error) => warn!(%error, "the budget of refused requests cannot be read; it starts anew"),
        }
        let (session, rest, ctx) = (self.session.clone(), self.rest.clone(), self.ctx.clone());
        self.ctx.tasks.spawn("budget", keep_budget(session, rest, ctx));
    }

    /// Keeps the health in step with what REST runs into; ends when the token has been dead for a while.
    async fn token_refused(&self) {
        let mut trouble = self.rest.trouble();
        let mut now = *trouble.borrow_and_update();
        loop {
            self.stats.set_trouble(now);
            if now == Trouble::TokenRefused {
                sleep(TOKEN_GRACE).await;
                return;
            }
            now = self.rest.trouble_changed(&mut trouble).await;
        }
    }

    fn token(&self, config: &Config) -> String {
        use secrecy::ExposeSecret;
        config.token.as_ref().map(|token| token.expose_secret().to_owned()).unwrap_or_default()
    }
}

/// Writes what this gateway has spent beside what the others have.
async fn save_budget(session: &Bucket, rest: &Rest, instance: &str) -> Result<(), BucketError> {
    let now_ms = service::clock::unix_ms();
    let entry = session.entry::<Budgets>(BUDGET_KEY).await?;
    let (mut kept, revision) = entry.map(|entry| (entry.value, entry.revision)).unwrap_or_default();
    kept.retain(|_, slots| slots.last().is_some_and(|slot| slot.at_ms + WINDOW_MS > now_ms));
    kept.insert(instance.to_owned(), rest.budget().saved(now_ms));
    session.put_if(BUDGET_KEY, &kept, revision).await.map(drop)
}

async fn keep_budget(session: Bucket, rest: Arc<Rest>, ctx: Context) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(BUDGET_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = rest.budget().saved(service::clock::unix_ms());
    let mut streak = Streak::default();
    let work = async {
        loop {
            tick.tick().await;
            let now = rest.budget().saved(service::clock::unix_ms());
            if now == kept {
                continue;
            }
            match save_budget(&session, &rest, &ctx.instance).await {
                Ok(()) => {
                    kept = now;
                    if streak.succeeded() {
                        info!("the budget of refused requests is kept again");
                    }
                }
                // Another gateway wrote first: this one's turn comes.
                Err(BucketError::Changed { .. }) => {}
                Err(error) if streak.failed(Instant::now()).is_zero() => {
                    warn!(%error, "the budget of refused requests is not kept; trying again until it is");
                }
                Err(_) => {}
            }
        }
    };
    unless_stopped(&ctx.shutdown, work).await.map(|_: Option<()>| ())
}
