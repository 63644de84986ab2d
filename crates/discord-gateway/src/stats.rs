//! What the gateway counts, and how it is: metrics, `$SRV.STATS`, and the health of `discord`.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use protocol::{ServiceStats, VERSION};
use service::{Component, Context, Counter, CounterVec, Gauge};

use crate::rest::Trouble;

/// The numbers of this service.
#[derive(Debug)]
pub struct Stats {
    /// Dispatches read, by kind.
    pub dispatches: CounterVec,
    /// Chat messages and commands read.
    pub events: Counter,
    /// Commands published.
    pub commands: Counter,
    /// Interactions read.
    pub interactions: Counter,
    /// Interactions that were answered late and so deferred.
    pub deferred: Counter,
    /// Interactions without an answer, by why.
    pub unanswered: CounterVec,
    /// Actions carried out or dropped, by outcome.
    pub actions: CounterVec,
    /// All actions.
    pub actions_all: Counter,
    /// Frames that could not be read.
    pub malformed: Counter,
    /// Events that no message could hold.
    pub unpublishable: Counter,
    /// Connections made to the gateway, by how they began.
    pub connects: CounterVec,
    /// How long Discord took for the last action, in microseconds.
    pub platform_us: Gauge,
    /// How far this machine's clock is ahead of Discord's, in seconds.
    pub clock_ahead_s: Gauge,
    shards: Gauge,
    shards_ready: Gauge,
    communities: Gauge,
    latency: Gauge,
    board: Mutex<Board>,
    discord: Component,
}

#[derive(Debug, Default)]
struct Board {
    shards: Vec<ShardState>,
    trouble: Option<String>,
}

#[derive(Clone, Debug)]
struct ShardState {
    /// Why it is not ready; empty when it is.
    reason: String,
    guilds: usize,
    latency_ms: f64,
}

impl Stats {
    /// Registers everything.
    #[must_use]
    pub fn new(ctx: &Context) -> Self {
        let m = &ctx.metrics;
        Self {
            dispatches: m.counter_vec("discord_dispatch", "Dispatches read, by kind", "kind"),
            events: m.counter("events", "Chat messages and commands read"),
            commands: m.counter("commands", "Commands published"),
            interactions: m.counter("interactions", "Interactions read"),
            deferred: m
                .counter("interactions_deferred", "Interactions deferred, because no answer came within 2 s"),
            unanswered: m.counter_vec(
                "interactions_unanswered",
                "Interactions nobody answered, by why",
                "reason",
            ),
            actions: m.counter_vec("actions_by_outcome", "Actions, by what became of them", "outcome"),
            actions_all: m.counter("actions", "Actions carried out or dropped"),
            malformed: m.counter("discord_malformed", "Gateway frames that could not be read"),
            unpublishable: m.counter("events_unpublishable", "Events that no message could hold"),
            connects: m.counter_vec(
                "discord_connects",
                "Connections to the gateway, by how they began",
                "by",
            ),
            platform_us: m.gauge("platform_us", "How long Discord took for the last action, in microseconds"),
            clock_ahead_s: m
                .gauge("clock_ahead_seconds", "How far this machine's clock is ahead of Discord's"),
            shards: m.gauge("shards", "Shards owned"),
            shards_ready: m.gauge("shards_ready", "Shards with a live session"),
            communities: m.gauge("communities", "Guilds the bot is in"),
            latency: m.gauge("gateway_latency_ms", "Longest last heartbeat of the shards, in milliseconds"),
            board: Mutex::default(),
            discord: ctx.health.component("discord"),
        }
    }

    /// The health of the platform as a whole, before there are shards.
    #[must_use]
    pub const fn discord(&self) -> &Component {
        &self.discord
    }

    /// How many shards there will be.
    pub fn set_shards(&self, count: u32) {
        let state = ShardState { reason: "starting".to_owned(), guilds: 0, latency_ms: 0.0 };
        self.change(|board| board.shards = (0..count).map(|_| state.clone()).collect());
    }

    /// A shard has a live session.
    pub fn shard_ready(&self, shard: u32) {
        self.shard(shard, |state| state.reason.clear());
    }

    /// A shard has none. `reason` says what a person should know or do.
    pub fn shard_down(&self, shard: u32, reason: impl Into<String>) {
        let reason = reason.into();
        self.shard(shard, |state| state.reason = reason);
    }

    /// How many guilds a shard has.
    pub fn set_guilds(&self, shard: u32, guilds: usize) {
        self.shard(shard, |state| state.guilds = guilds);
    }

    /// How long a shard's last heartbeat took.
    pub fn set_latency(&self, shard: u32, latency_ms: f64) {
        self.shard(shard, |state| state.latency_ms = latency_ms);
    }

    /// What keeps all requests back.
    pub fn set_trouble(&self, trouble: Trouble) {
        let words = match trouble {
            Trouble::None => None,
            Trouble::TokenRefused => Some(
                "discord refused DISCORD_TOKEN (401); no request is sent any more. copy the token anew \
                 from the developer portal, page Bot"
                    .to_owned(),
            ),
            Trouble::BudgetSpent { until_ms } => {
                let seconds = until_ms.saturating_sub(service::clock::unix_ms()).div_ceil(1000);
                Some(format!(
                    "discord refused {} requests within 10 minutes (401, 403, 429); none is sent for about \
                     {seconds} s, because it bans an address at 10000. look at the dropped actions in the log",
                    crate::rest::budget::MAX_INVALID
                ))
            }
        };
        self.change(|board| board.trouble = words);
    }

    fn shard(&self, shard: u32, work: impl FnOnce(&mut ShardState)) {
        self.change(|board| {
            let index = usize::try_from(shard).unwrap_or(usize::MAX);
            if let Some(state) = board.shards.get_mut(index) {
                work(state);
            }
        });
    }

    fn change(&self, work: impl FnOnce(&mut Board)) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut board);
        let count = board.shards.len();
        let ready = board.shards.iter().filter(|shard| shard.reason.is_empty()).count();
        self.shards.set(float(count));
        self.shards_ready.set(float(ready));
        self.communities.set(float(board.shards.iter().map(|shard| shard.guilds).sum()));
        self.latency.set(board.shards.iter().map(|shard| shard.latency_ms).fold(0.0, f64::max));
        match (&board.trouble, board.shards.iter().enumerate().find(|(_, shard)| !shard.reason.is_empty())) {
            (Some(trouble), _) => self.discord.down(trouble.clone()),
            (None, Some((shard, state))) => {
                self.discord.down(format!("shard {shard} ({ready} of {count} ready): {}", state.reason));
            }
            (None, None) if count > 0 => self.discord.up(),
            (None, None) => {}
        }
    }
}

/// What `$SRV.STATS` is told.
pub fn service_stats(ctx: &Context) -> impl Fn() -> ServiceStats + Send + Sync + 'static {
    let (ctx, started) = (ctx.clone(), Instant::now());
    move || {
        let readiness = ctx.health.readiness();
        ServiceStats {
            v: VERSION,
            service: ctx.name.to_owned(),
            instance: ctx.instance.clone(),
            build: service::BUILD.to_owned(),
            uptime_s: started.elapsed().as_secs(),
            ready: readiness.ready,
            reason: readiness.reason,
            resident_bytes: service::resident_bytes(),
            metrics: ctx.metrics.snapshot(),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
const fn float(count: usize) -> f64 {
    count as f64
}
