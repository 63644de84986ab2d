//! What the gateway counts, and how it is: metrics, `$SRV.STATS`, and the health of `discord`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use service::{Component, Context, Counter, CounterVec, Gauge, Health};

use crate::rest::Trouble;

/// A gateway without a live session ends itself when for so long no shard came up. A restart costs
/// little and helps against what nobody thought of.
const STUCK_LIMIT: Duration = Duration::from_secs(15 * 60);

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
    /// Frames that could not be read.
    pub malformed: Counter,
    /// Events that no message could hold.
    pub unpublishable: Counter,
    /// Connections made to the gateway, by how they began.
    pub connects: CounterVec,
    /// Sessions that could not be resumed: what was said since their last event is lost.
    pub sessions_lost: Counter,
    shards: Gauge,
    shards_ready: Gauge,
    communities: Gauge,
    latency: Gauge,
    heartbeat_age: Gauge,
    board: Mutex<Board>,
    discord: Component,
    health: Health,
    stuck_limit: Duration,
}

#[derive(Debug)]
struct Board {
    /// The shards that are ours, by number.
    shards: BTreeMap<u32, ShardState>,
    /// Whether it is known which are.
    shared_out: bool,
    trouble: Option<String>,
    /// Why no shards are read here, although there are some.
    aside: Option<String>,
    /// When the platform's component went down; `None` while it is up.
    down_since: Option<Instant>,
    /// When a shard came up last, or there was no reason for any to.
    moved_at: Instant,
    ready: usize,
    /// There is one once there are shards.
    cursor: Option<Component>,
}

#[derive(Clone, Debug, Default)]
struct ShardState {
    /// Why it is not ready; empty when it is.
    reason: String,
    /// A restart would not help: a person, or another service, must do something.
    waits: bool,
    /// Why its cursor is not kept; empty when it is.
    cursor: String,
    guilds: usize,
    latency_ms: f64,
    heartbeat_age_s: f64,
}

impl Stats {
    /// Registers everything.
    #[must_use]
    pub fn new(ctx: &Context) -> Self {
        Self::with_limit(ctx, STUCK_LIMIT)
    }

    fn with_limit(ctx: &Context, stuck_limit: Duration) -> Self {
        let discord = ctx.health.component("discord").fatal_after(stuck_limit);
        let (m, now) = (&ctx.metrics, Instant::now());
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
            malformed: m.counter("discord_malformed", "Gateway frames that could not be read"),
            unpublishable: m.counter("events_unpublishable", "Events that no message could hold"),
            connects: m
                .counter_vec("discord_connects", "Connections to the gateway, by how they began", "by")
                .known(&["identify", "resume"]),
            sessions_lost: m.counter(
                "discord_sessions_lost",
                "Sessions that could not be resumed; what was said meanwhile was not read",
            ),
            shards: m.gauge("shards", "Shards owned"),
            shards_ready: m.gauge("shards_ready", "Shards with a live session"),
            communities: m.gauge("communities", "Guilds the bot is in"),
            latency: m.gauge("gateway_latency_ms", "Longest last heartbeat of the shards, in milliseconds"),
            heartbeat_age: m.gauge(
                "heartbeat_age_seconds",
                "Since the last acknowledged heartbeat of the shard that waits longest for one",
            ),
            board: Mutex::new(Board {
                shards: BTreeMap::new(),
                shared_out: false,
                trouble: None,
                aside: None,
                down_since: Some(now),
                moved_at: now,
                ready: 0,
                cursor: None,
            }),
            discord,
            health: ctx.health.clone(),
            stuck_limit,
        }
    }

    /// The health of the platform as a whole, before there are shards.
    #[must_use]
    pub const fn discord(&self) -> &Component {
        &self.discord
    }

    /// Which shards are ours. With none, this gateway stands by for others.
    pub fn set_owned(&self, shards: &BTreeSet<u32>) {
        let state = ShardState { reason: "starting".to_owned(), ..ShardState::default() };
        self.change(|board| {
            board.shared_out = true;
            board.shards.retain(|shard, _| shards.contains(shard));
            for shard in shards {
                board.shards.entry(*shard).or_insert_with(|| state.clone());
            }
            board.cursor.get_or_insert_with(|| self.health.component("cursor"));
        });
    }

    /// A shard has a live session.
    pub fn shard_ready(&self, shard: u32) {
        self.shard(shard, |state| {
            state.reason.clear();
            state.waits = false;
        });
    }

    /// A shard has none. `reason` says what a person should know.
    pub fn shard_down(&self, shard: u32, reason: impl Into<String>) {
        let reason = reason.into();
        self.shard(shard, |state| {
            state.reason = reason;
            state.waits = false;
            state.heartbeat_age_s = 0.0;
        });
    }

    /// A shard has none, and a restart would not give it one. `reason` says what a person should do.
    pub fn shard_waits(&self, shard: u32, reason: impl Into<String>) {
        let reason = reason.into();
        self.shard(shard, |state| {
            state.reason = reason;
            state.waits = true;
        });
    }

    /// A shard's cursor is kept.
    pub fn cursor_kept(&self, shard: u32) {
        self.shard(shard, |state| state.cursor.clear());
    }

    /// A shard's cursor has not been kept for long. `reason` says what a person should know.
    pub fn cursor_lost(&self, shard: u32, reason: String) {
        self.shard(shard, |state| state.cursor = reason);
    }

    /// How many guilds a shard has.
    pub fn set_guilds(&self, shard: u32, guilds: usize) {
        self.shard(shard, |state| state.guilds = guilds);
    }

    /// How long a shard's last heartbeat took.
    pub fn set_latency(&self, shard: u32, latency_ms: f64) {
        self.shard(shard, |state| state.latency_ms = latency_ms);
    }

    /// How long ago a shard's last heartbeat was acknowledged; 0 while it is not connected.
    pub fn set_heartbeat_age(&self, shard: u32, age: Duration) {
        self.shard(shard, |state| state.heartbeat_age_s = age.as_secs_f64());
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

    /// Why this gateway reads no shards, which a restart would not change; `None`: it may.
    pub fn stand_aside(&self, reason: Option<String>) {
        self.change(|board| board.aside = reason);
    }

    fn shard(&self, shard: u32, work: impl FnOnce(&mut ShardState)) {
        self.change(|board| {
            if let Some(state) = board.shards.get_mut(&shard) {
                work(state);
            }
        });
    }

    fn change(&self, work: impl FnOnce(&mut Board)) {
        let board = &mut *self.board.lock().unwrap_or_else(PoisonError::into_inner);
        work(board);
        let count = board.shards.len();
        let ready = board.shards.values().filter(|shard| shard.reason.is_empty()).count();
        self.shards.set(float(count));
        self.shards_ready.set(float(ready));
        self.communities.set(float(board.shards.values().map(|shard| shard.guilds).sum()));
        self.latency.set(board.shards.values().map(|shard| shard.latency_ms).fold(0.0, f64::max));
        self.heartbeat_age.set(board.shards.values().map(|shard| shard.heartbeat_age_s).fold(0.0, f64::max));
        if let Some(cursor) = &board.cursor {
            match board.shards.values().find(|shard| !shard.cursor.is_empty()) {
                Some(shard) => cursor.down(shard.cursor.clone()),
                None => cursor.up(),
            }
        }
        self.tell(board, ready);
    }

    fn tell(&self, board: &mut Board, ready: usize) {
        let (now, count) = (Instant::now(), board.shards.len());
        let down = board.shards.iter().find(|(_, shard)| !shard.reason.is_empty());
        let reason = match (board.trouble.as_ref().or(board.aside.as_ref()), down) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some((shard, state))) => {
                format!("shard {shard} ({ready} of {count} ready): {}", state.reason)
            }
            (None, None) if board.shared_out => {
                (board.down_since, board.ready) = (None, ready);
                return self.discord.up();
            }
            (None, None) => return,
        };
        let down_since = *board.down_since.get_or_insert(now);
        let kept_back = board.trouble.is_some() || board.aside.is_some();
        let waits = kept_back || board.shards.values().any(|shard| shard.waits);
        if waits || ready > board.ready || down_since == now {
            board.moved_at = now;
        }
        board.ready = ready;
        // With many shards a start takes longer than the limit; that is not being stuck.
        let limit = if waits {
            Duration::MAX
        } else {
            board.moved_at.saturating_duration_since(down_since).saturating_add(self.stuck_limit)
        };
        // The component keeps the limit; what is returned is the component again.
        let _ = self.discord.clone().fatal_after(limit);
        self.discord.down(reason);
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_stuck_ends_itself_but_not_while_a_person_is_waited_for() {
        let ctx = Context::new("test");
        let stats = Stats::with_limit(&ctx, Duration::ZERO);
        stats.set_owned(&[0, 1].into());
        assert!(!ctx.health.readiness().alive);
        stats.shard_waits(0, "switch on the intent");
        assert!(ctx.health.readiness().alive);
        stats.shard_down(0, "the connection broke");
        assert!(!ctx.health.readiness().alive);
        stats.set_trouble(Trouble::BudgetSpent { until_ms: 0 });
        assert!(ctx.health.readiness().alive);
        stats.set_trouble(Trouble::None);
        stats.shard_ready(0);
        stats.shard_ready(1);
        let readiness = ctx.health.readiness();
        assert!(readiness.alive && readiness.ready, "{readiness:?}");
    }

    #[test]
    fn the_clock_of_a_stuck_gateway_starts_again_with_each_shard_that_comes_up() {
        let ctx = Context::new("test");
        let stats = Stats::with_limit(&ctx, Duration::from_secs(60));
        stats.set_owned(&[0, 1].into());
        let ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let moved = |stats: &Stats| stats.board.lock().unwrap().moved_at;
        stats.change(|board| board.moved_at = ago);
        assert_eq!(moved(&stats), ago);
        stats.shard_ready(0);
        assert!(moved(&stats) > ago);
    }

    #[test]
    fn a_cursor_that_is_not_kept_is_shown_until_it_is() {
        let ctx = Context::new("test");
        let stats = Stats::new(&ctx);
        stats.set_owned(&[0, 1].into());
        stats.shard_ready(0);
        stats.shard_ready(1);
        stats.cursor_lost(1, "the disk is full".to_owned());
        stats.cursor_kept(0);
        assert_eq!(ctx.health.readiness().reason, "cursor: the disk is full");
        stats.cursor_kept(1);
        assert!(ctx.health.readiness().ready);
    }
}
