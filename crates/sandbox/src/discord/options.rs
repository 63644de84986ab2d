//! What can be chosen when the local Discord is made. Nothing here changes while it runs: that is
//! what [`super::Faults`] is for.

use std::time::Duration;

/// How the local Discord is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bot token that is accepted, without the `Bot ` in front.
    pub token: String,
    /// Further tokens of the same bot, as after a token was renewed.
    pub more_tokens: Vec<String>,
    /// Quiet guilds beside the demo guild, for load tests; each has one text channel.
    pub extra_guilds: usize,
    /// How many shards `/gateway/bot` recommends.
    pub shards: u32,
    /// How many shards may identify within 5 s, one per `shard_id % max_concurrency`.
    pub max_concurrency: u32,
    /// The time in which each of them may start one session; Discord's is 5 s.
    pub identify_window: Duration,
    /// IDENTIFYs that are granted per 24 h.
    pub identify_total: u32,
    /// What HELLO asks for, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// How long a session waits for its client to come back.
    pub session_grace: Duration,
    /// How long an interaction waits for its first answer; Discord gives 3 s.
    pub interaction_deadline: Duration,
    /// How long an interaction token is good; Discord gives 15 min.
    pub interaction_token_life: Duration,
    /// Requests per second over all routes; Discord grants 50. Interaction routes do not count.
    pub requests_per_second: u32,
    /// Multiplies what each bucket lets through; 1 is as on Discord, more is for load tests.
    pub bucket_scale: u32,
    /// This many answers of 401, 403 or 429 within ten minutes ban the address; Discord's is 10,000.
    pub invalid_requests: usize,
    /// The privileged intents that the application was granted, as a bit set.
    pub privileged_intents: u64,
}

/// `GUILD_MEMBERS`, `GUILD_PRESENCES` and `MESSAGE_CONTENT`.
pub const ALL_PRIVILEGED: u64 = (1 << 1) | (1 << 8) | (1 << 15);

impl Default for Options {
    fn default() -> Self {
        Self {
            token: "sandbox-token".to_owned(),
            more_tokens: Vec::new(),
            extra_guilds: 0,
            shards: 1,
            max_concurrency: 1,
            identify_window: Duration::from_secs(5),
            identify_total: 1000,
            heartbeat_interval_ms: 41_250,
            session_grace: Duration::from_secs(180),
            interaction_deadline: Duration::from_secs(3),
            interaction_token_life: Duration::from_secs(15 * 60),
            requests_per_second: 50,
            bucket_scale: 1,
            invalid_requests: 10_000,
            privileged_intents: ALL_PRIVILEGED,
        }
    }
}
