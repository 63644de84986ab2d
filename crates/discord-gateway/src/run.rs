//! The life of the gateway: connect, find out who it is, start everything, and at the end drain in
//! the order in which nothing is lost: stop reading, store what was read, keep the cursor.

use std::{sync::Arc, time::Duration};

use bus::{Bucket, BucketName, Bus, Link, Options};
use futures_util::future::try_join_all;
use protocol::subject::PARTITIONS;
use service::{Component, Context};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use twilight_gateway::{ConfigBuilder, ShardId};
use twilight_http::Client;

use crate::{
    Config,
    actions::Actions,
    cursor::Progress,
    discover::{Discover, Identity},
    done::Done,
    execute::Executor,
    facts::Facts,
    frame::Snowflake,
    identify::{Granted, Identify},
    interactions::{self, Answerer},
    publish::Publisher,
    reader::{self, Reader},
    rest::{Rest, Trouble, budget::Slot},
    shard::{self, INTENTS, Shard, Shared},
    slash::Slash,
    stats::{Stats, service_stats},
};

/// The key under which the budget of refused requests is kept; it is the address's, not the bot's.
const BUDGET_KEY: &str = "discord.invalid-requests";
/// How often it is kept.
const BUDGET_INTERVAL: Duration = Duration::from_secs(1);
/// After Discord refused the token while everything ran, the process ends after this time: a restart
/// reads the setting again.
const TOKEN_GRACE: Duration = Duration::from_secs(30);

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
}

/// Runs the gateway until the service is asked to stop.
///
/// # Errors
/// When NATS cannot be reached, Discord refuses the token, or something that must not end did.
pub async fn run(ctx: Context, config: Config) -> anyhow::Result<()> {
    let nats = ctx.health.component("nats");
    let stats = Arc::new(Stats::new(&ctx));
    let bus = Bus::connect(Options { url: config.nats_url.clone(), name: ctx.instance.clone() }).await?;
    ctx.tasks.spawn("nats-link", follow_link(bus.clone(), nats, ctx.shutdown.clone()));
    let announcement = bus.announce(ctx.name, service_stats(&ctx)).await?;
    let Some(token) = config.token.clone() else {
        stats.discord().off("DISCORD_TOKEN is not set");
        ctx.shutdown.cancelled().await;
        drop(announcement);
        bus.drain().await;
        return Ok(());
    };
    let attached = ctx.health.component("actions");
    let parts = Parts {
        session: bus.bucket(BucketName::Session).await?,
        rest: Arc::new(Rest::new(
            &config.api_url,
            &token,
            config.requests_per_second,
            stats.clock_ahead_s.clone(),
        )?),
        builder: Arc::new(Client::builder().ratelimiter(None).build()),
        acting: TaskTracker::new(),
        stats,
        ctx,
        bus,
    };
    let outcome = tokio::select! {
        outcome = parts.serve(config, attached) => outcome,
        () = parts.token_refused() => Err(anyhow::anyhow!("{}", crate::rest::RestError::TokenRefused)),
    };
    drop(announcement);
    // What is being sent is acknowledged before the connection goes.
    parts.ctx.shutdown.cancel();
    parts.acting.close();
    parts.acting.wait().await;
    parts.bus.drain().await;
    outcome
}

impl Parts {
    async fn serve(&self, config: Config, attached: Component) -> anyhow::Result<()> {
        let shutdown = self.ctx.shutdown.clone();
        self.restore_budget().await;
        let discover = Discover {
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            stats: self.stats.clone(),
            api_url: config.api_url.clone(),
        };
        let asked = async { anyhow::Ok((discover.identity().await?, discover.gateway().await?)) };
        let (identity, gateway) = tokio::select! {
            answered = asked => answered?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let count = config.shards.unwrap_or(gateway.shards).max(1);
        info!(application = %identity.application, shards = count, "discord");
        self.start_actions(attached).await?;
        self.start_slash(&config, identity).await?;

        let (interactions, asked) = mpsc::channel(interactions::QUEUE);
        let key = format!("discord.{}.identify", identity.application);
        let identify = Identify::new(gateway.session_start_limit, self.session.clone(), key).await;
        let twilight = ConfigBuilder::new(self.token(&config), INTENTS).queue(Granted::default()).build();
        let shared = Shared {
            twilight,
            fixed_url: config.gateway_url.is_some(),
            gateway_url: config.gateway_url.clone().unwrap_or(gateway.url),
            identify: Arc::new(identify),
            recheck: Arc::new(discover),
            shutdown,
        };
        let context = reader::Context {
            facts: Arc::new(Facts::new(self.rest.clone(), self.builder.clone())),
            stats: self.stats.clone(),
            interactions,
            prefix: config.prefix.as_str().into(),
        };
        self.stats.set_shards(count);
        let answerer = Answerer {
            bus: self.bus.clone(),
            rest: self.rest.clone(),
            builder: self.builder.clone(),
            stats: self.stats.clone(),
        };
        // The shards own all that is left of `context`: once the last one has ended, the answerer does.
        let shared = &shared;
        let shards = (0..count).map(move |id| self.shard(id, count, shared, context.clone(), identity));
        let shards = try_join_all(shards.collect::<Vec<_>>());
        let (outcome, ()) = tokio::join!(shards, answerer.run(asked));
        self.save_budget().await;
        outcome.map(drop)
    }

    /// Runs one shard until the service stops, then stores what it read and keeps its cursor.
    async fn shard(
        &self,
        id: u32,
        count: u32,
        shared: &Shared,
        context: reader::Context,
        identity: Identity,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(identity.application, id, count);
        let restored = progress.restore(&self.session).await?;
        let user = restored.map_or(identity.user, |cursor| Snowflake(cursor.user));
        let (items, taken) = mpsc::channel(shard::QUEUE);
        let facts = context.facts.clone();
        let reader = Reader::new(id, context, progress.clone(), user);
        let shard = Shard::new(ShardId::new(id, count), shared.clone(), reader, items);
        let publisher = Publisher::new(self.bus.clone(), facts, self.stats.clone(), progress.clone());
        let finished = CancellationToken::new();
        let read = async {
            let (outcome, ()) = tokio::join!(shard.run(), publisher.run(taken));
            finished.cancel();
            outcome
        };
        let (outcome, written) = tokio::join!(read, progress.write(self.session.clone(), finished.clone()));
        outcome.and(written)
    }

    async fn start_actions(&self, attached: Component) -> anyhow::Result<()> {
        let actions = Actions {
            bus: self.bus.clone(),
            executor: Arc::new(Executor::new(self.rest.clone(), self.builder.clone())),
            done: Arc::new(Done::default()),
            stats: self.stats.clone(),
            shutdown: self.ctx.shutdown.clone(),
        };
        let mut watches = Vec::new();
        for partition in 0..PARTITIONS {
            let consumer = actions.attach(partition).await?;
            watches.push(consumer.attached());
            let acting = self.acting.track_future(actions.clone().run(consumer));
            self.ctx.tasks.spawn("actions", acting);
        }
        self.ctx
            .tasks
            .spawn("actions-health", follow_consumers(watches, attached, self.ctx.shutdown.clone()));
        Ok(())
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

    /// The budget of refused requests goes on where the process before stopped.
    async fn restore_budget(&self) {
        match self.session.get::<Vec<Slot>>(BUDGET_KEY).await {
            Ok(saved) => {
                self.rest.budget().restore(&saved.unwrap_or_default(), service::clock::unix_ms());
            }
            Err(error) => warn!(%error, "the budget of refused requests cannot be read; it starts anew"),
        }
        let (session, rest, shutdown) = (self.session.clone(), self.rest.clone(), self.ctx.shutdown.clone());
        self.ctx.tasks.spawn("budget", keep_budget(session, rest, shutdown));
    }

    async fn save_budget(&self) {
        let saved = self.rest.budget().saved(service::clock::unix_ms());
        if let Err(error) = self.session.put(BUDGET_KEY, &saved).await {
            warn!(%error, "the budget of refused requests was not kept");
        }
    }

    /// Keeps the health in step with what REST runs into; ends when the token has been dead for a while.
    async fn token_refused(&self) {
        let mut trouble = self.rest.trouble();
        loop {
            let now = *trouble.borrow_and_update();
            self.stats.set_trouble(now);
            if now == Trouble::TokenRefused {
                tokio::time::sleep(TOKEN_GRACE).await;
                return;
            }
            if trouble.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn token(&self, config: &Config) -> String {
        use secrecy::ExposeSecret;
        config.token.as_ref().map(|token| token.expose_secret().to_owned()).unwrap_or_default()
    }
}

async fn follow_link(bus: Bus, nats: Component, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut link = bus.link();
    loop {
        match *link.borrow_and_update() {
            Link::Up => nats.up(),
            Link::Down => nats.down("NATS is away; what is read is kept until it is back"),
        }
        tokio::select! {
            changed = link.changed() => changed?,
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn follow_consumers(
    mut watches: Vec<tokio::sync::watch::Receiver<bool>>,
    attached: Component,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let away = watches.iter_mut().filter_map(|watch| (!*watch.borrow_and_update()).then_some(())).count();
        if away == 0 {
            attached.up();
        } else {
            attached.down(format!("{away} of {} partitions of actions are not attached", watches.len()));
        }
        let changed =
            futures_util::future::select_all(watches.iter_mut().map(|watch| Box::pin(watch.changed())));
        tokio::select! {
            (changed, ..) = changed => {
                if changed.is_err() {
                    // The consumers end with the service.
                    shutdown.cancelled().await;
                    return Ok(());
                }
            }
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn keep_budget(session: Bucket, rest: Arc<Rest>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(BUDGET_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = rest.budget().saved(service::clock::unix_ms());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let now = rest.budget().saved(service::clock::unix_ms());
        if now != kept && session.put(BUDGET_KEY, &now).await.is_ok() {
            kept = now;
        }
    }
}
