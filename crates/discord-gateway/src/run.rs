//! The life of the gateway: connect, find out who it is, start everything, and at the end drain in
//! the order in which nothing is lost: stop reading, store what was read, keep the cursor.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actions::{Actions, Numbers};
use bus::{Bucket, BucketName, Bus, Handover, Holding, Lease, Link, User};
use service::Context;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use twilight_gateway::{ConfigBuilder, ShardId};
use twilight_http::Client;

use crate::{
    Config,
    agreement::{Agreement, Wish},
    cursor::Progress,
    discover::{Discover, Identity},
    execute::Executor,
    facts::Facts,
    frame::Snowflake,
    identify::{Granted, Identify, SharedTurn},
    interactions::{self, Answerer},
    ledger::Starts,
    publish::Publisher,
    reach::{self, Reach, Yielding},
    reader::{self, Reader},
    rest::{Counts, Rest, RestError, Trouble},
    shard::{self, INTENTS, Shard, Shared as Common},
    shards::{self, Ours, Shards},
    slash::Slash,
    spent::Spent,
    stats::{Stats, float},
};

/// After Discord refused the token while everything ran, the process ends after this time: a restart
/// reads the setting again.
const TOKEN_GRACE: Duration = Duration::from_secs(30);

/// How long a stop may take until everything that was read is stored; the rest is done again by the next
/// process.
const STOP_LIMIT: Duration = Duration::from_millis(3200);
/// How long it may take until what is being sent is sent, or given back. With the two limits below, it
/// fits into the 7 s that a service has.
const ACTING_LIMIT: Duration = Duration::from_millis(4500);
/// How long it may take to tell the others that they may have what this gateway had.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(800);
/// How long the last words may take.
const LEAVE_LIMIT: Duration = Duration::from_millis(1200);

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

type Wants = BTreeMap<String, Handover>;

/// Runs the gateway until the service is asked to stop.
///
/// # Errors
/// When NATS cannot be reached, Discord refuses the token, or something that must not end did.
pub async fn run(ctx: Context, config: Config) -> anyhow::Result<()> {
    let nats = ctx.health.component("nats");
    let stats = Arc::new(Stats::new(&ctx));
    let connected = presence::connect(&ctx, User::DiscordGateway, &config.nats);
    let Some(bus) = connected.await? else { return Ok(()) };
    presence::follow_link(&ctx, nats, &bus, AWAY);
    let announcement = presence::announce(&ctx, &bus).await?;
    let Some(token) = config.token.clone() else {
        stats.discord().off("DISCORD_TOKEN is not set");
        ctx.shutdown.cancelled().await;
        drop(announcement);
        leave(&bus).await;
        return Ok(());
    };
    let opened = async { Ok(bus.bucket(BucketName::Session).await?) };
    let Some(session) = unless_stopped(&ctx.shutdown, opened).await? else { return Ok(()) };
    let counts = Counts::new(&ctx.metrics);
    let rest = Arc::new(Rest::new(&config.api_url, &token, config.requests_per_second, counts)?);
    show_buckets(&ctx, &rest);
    let parts = Arc::new(Parts {
        session,
        rest,
        builder: Arc::new(Client::builder().ratelimiter(None).build()),
        acting: TaskTracker::new(),
        lease: OnceLock::new(),
        stats,
        ctx,
        bus,
    });
    let serve = async {
        let mut serving = std::pin::pin!(parts.clone().serve(config));
        let outcome = tokio::select! {
            outcome = &mut serving => outcome,
            () = parts.token_refused() => {
                // What was read is stored nevertheless.
                parts.ctx.shutdown.cancel();
                serving.await.and(Err(RestError::TokenRefused.into()))
            }
        };
        parts.ctx.shutdown.cancel();
        outcome
    };
    let stop_began = async {
        parts.ctx.shutdown.cancelled().await;
        Instant::now()
    };
    let (outcome, stop_began) = tokio::join!(serve, stop_began);
    drop(announcement);
    parts.acting.close();
    // What is being sent is acknowledged before the connection goes.
    if timeout_at(stop_began + ACTING_LIMIT, parts.acting.wait()).await.is_err() {
        warn!("actions were left behind; they are tried again by the next process");
    }
    parts.hand_over().await;
    leave(&parts.bus).await;
    outcome
}

fn show_buckets(ctx: &Context, rest: &Arc<Rest>) {
    let (all, empty) = (rest.clone(), rest.clone());
    ctx.metrics.gauge_of("rate_limit_buckets", "Rate-limit buckets of Discord that are known", move || {
        float(all.buckets().0)
    });
    ctx.metrics.gauge_of("rate_limit_buckets_empty", "Those that let nothing through now", move || {
        float(empty.buckets().1)
    });
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

/// What is taken from others once they have let go of it.
fn wants(names: impl Iterator<Item = String>) -> Wants {
    names.map(|name| (name, Handover::DrainFirst)).collect()
}

impl Parts {
    async fn serve(self: Arc<Self>, config: Config) -> anyhow::Result<()> {
        let shutdown = self.ctx.shutdown.clone();
        let Some(mut running) = unless_stopped(&shutdown, Box::pin(self.start(config))).await? else {
            return Ok(());
        };
        let outcome = tokio::select! {
            Some(ended) = running.join_next() => ended.map_err(anyhow::Error::from).and_then(|outcome| outcome),
            () = shutdown.cancelled() => Ok(()),
        };
        shutdown.cancel();
        if let Some(lease) = self.lease.get() {
            // The others take each thing over as soon as it is let go of.
            lease.retire();
        }
        // What is still running when the time is over is aborted with the set.
        let stopped = timeout(STOP_LIMIT, async {
            let mut outcome = outcome;
            while let Some(ended) = running.join_next().await {
                outcome = outcome.and(ended.map_err(anyhow::Error::from).and_then(|outcome| outcome));
            }
            if let Err(error) = self.spent().save().await {
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
        let spent = self.spent();
        spent.restore().await;
        self.ctx.tasks.spawn("budget", spent.run(self.ctx.shutdown.clone()));
        let discover = Discover {
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            stats: self.stats.clone(),
            api_url: config.api_url.clone(),
        };
        let (identity, gateway) = (discover.identity().await?, discover.gateway().await?);
        let wish = config.shards.map_or(Wish::Recommended(gateway.shards.max(1)), Wish::Exactly);
        info!(application = %identity.application, shards = ?wish, "discord");
        let wanted = watch::Sender::new(wants(actions::resources()));
        let lease = self.join(identity, wanted.subscribe()).await?;
        self.start_actions(lease.clone());
        self.start_slash(&config, identity).await?;

        let (interactions, asked) = mpsc::channel(interactions::QUEUE);
        let key = format!("discord.{}.identify", identity.application);
        let turn = SharedTurn {
            bus: self.bus.clone(),
            key: format!("identify.{}", identity.application),
            instance: self.ctx.instance.clone(),
        };
        let starts = Starts::open(gateway.session_start_limit, self.session.clone(), key).await;
        let identify = Identify::new(gateway.session_start_limit.max_concurrency, starts, Some(turn));
        let twilight = ConfigBuilder::new(self.token(&config), INTENTS).queue(Granted::default()).build();
        let common = Common {
            twilight,
            fixed_url: config.gateway_url.is_some(),
            gateway_url: config.gateway_url.clone().unwrap_or(gateway.url),
            identify: Arc::new(identify),
            recheck: Arc::new(discover),
            reach: Arc::new(Reach::default()),
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
        let agreement = Agreement {
            kv: self.session.clone(),
            key: format!("discord.{}.shards", identity.application),
            instance: self.ctx.instance.clone(),
            wish,
            lease,
            stats: self.stats.clone(),
        };
        let mut running = JoinSet::new();
        running.spawn(self.clone().read(agreement, wanted, common, context, identity));
        // The shards own all that is left of `context`: once the last one has ended, the answerer does.
        running.spawn(async move {
            answerer.run(asked).await;
            Ok(())
        });
        Ok(running)
    }

    /// Reads the shards that are ours, of as many as all gateways have agreed on.
    async fn read(
        self: Arc<Self>,
        agreement: Agreement,
        wanted: watch::Sender<Wants>,
        common: Common,
        context: reader::Context,
        identity: Identity,
    ) -> anyhow::Result<()> {
        let tell = |reason| self.stats.stand_aside(reason);
        let Some(count) = self.ctx.shutdown.run_until_cancelled(agreement.reach(tell)).await else {
            return Ok(());
        };
        wanted.send_modify(|wanted| {
            wanted.extend(wants((0..count).map(|shard| shards::resource(shard, count))));
        });
        let (twilight, url) = (common.twilight.clone(), common.gateway_url.clone());
        let yielding = Yielding {
            reach: common.reach.clone(),
            lease: agreement.lease.clone(),
            stats: self.stats.clone(),
            probe: Box::new(move || Box::pin(reach::probe(twilight.clone(), url.clone()))),
        };
        let (parts, lease) = (self.clone(), agreement.lease.clone());
        let start: shards::Start = Box::new(move |id, stop| {
            let ours = Ours::new(lease.clone(), id, count);
            let shard =
                parts.clone().shard((id, count), common.clone(), ours, context.clone(), identity, stop);
            Box::pin(shard)
        });
        let shards = Shards::new(agreement.lease.clone(), count, self.stats.clone(), start);
        let stop = self.ctx.shutdown.child_token();
        let reading = async {
            let outcome = shards.run(stop.clone()).await;
            stop.cancel();
            outcome
        };
        let watching = async {
            let outcome = tokio::select! {
                overruled = agreement.keep(count) => Err(overruled),
                () = stop.cancelled() => return Ok(()),
                () = yielding.run() => Ok(()),
            };
            stop.cancel();
            outcome
        };
        let (read, watched) = tokio::join!(reading, watching);
        agreement.withdraw(count).await;
        watched.and(read)
    }

    /// Shares what there is to do with the other gateways of the bot.
    async fn join(&self, identity: Identity, wanted: watch::Receiver<Wants>) -> anyhow::Result<Arc<Lease>> {
        let group = format!("discord-{}", identity.application);
        let lease = Arc::new(self.bus.join(&group, &self.ctx.instance, wanted).await?);
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
            && timeout(HAND_OVER_LIMIT, lease.leave(Duration::ZERO)).await.is_err()
        {
            warn!("NATS does not answer; the others wait until the lease has run out");
        }
    }

    /// Runs one shard until `stop`, then stores what it read and keeps its cursor.
    async fn shard(
        self: Arc<Self>,
        (id, count): (u32, u32),
        common: Common,
        ours: Ours,
        context: reader::Context,
        identity: Identity,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(identity.application, id, count);
        let Some(restored) = stop.run_until_cancelled(progress.restore(&self.session)).await else {
            return Ok(());
        };
        let user = restored.map_or(identity.user, |cursor| Snowflake(cursor.user));
        let (items, taken) = mpsc::channel(shard::QUEUE);
        let facts = context.facts.clone();
        let reader = Reader::new(id, context, progress.clone(), user);
        let shard = Shard::new(ShardId::new(id, count), common, ours.clone(), reader, items);
        let publisher = Publisher::new(self.bus.clone(), facts, self.stats.clone(), progress.clone());
        let finished = CancellationToken::new();
        let read = async {
            let (outcome, ()) = tokio::join!(shard.run(stop.clone()), publisher.run(taken, stop.clone()));
            finished.cancel();
            outcome
        };
        let tell = |trouble| match trouble {
            Some(reason) => self.stats.cursor_lost(id, reason),
            None => self.stats.cursor_kept(id),
        };
        let written = progress.write(self.session.clone(), finished.clone(), || ours.now(), tell);
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

    fn spent(&self) -> Spent {
        let instance = self.ctx.instance.clone();
        Spent { session: self.session.clone(), rest: self.rest.clone(), instance }
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
