//! How much a bot may ask: the bucket of each route, the global limit, and the ban for too many
//! invalid requests. Source: <https://docs.discord.com/developers/topics/rate-limits>.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, Method};

use super::{Options, snowflake::now_ms};

/// Buckets that are remembered; those whose window is over are dropped beyond this.
const MAX_BUCKETS: usize = 20_000;
/// In this time only so many 401, 403 and 429 are endured.
const INVALID_WINDOW: Duration = Duration::from_secs(600);

/// What a bucket lets through.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What `X-RateLimit-Bucket` says.
    bucket: &'static str,
    limit: u32,
    window: Duration,
}

const fn rule(bucket: &'static str, limit: u32, window_ms: u64) -> Rule {
    Rule { bucket, limit, window: Duration::from_millis(window_ms) }
}

const SEND: Rule = rule("80c17d2f203122d936070c88c8d10f33", 5, 5000);
const EDIT: Rule = rule("2b1d5f8a7c3e4960b8d2f17a5e0c9364", 5, 5000);
const DELETE: Rule = rule("5c7e9a1b3d2f4860a7c5e3d1f9b80246", 5, 1000);
const REACT: Rule = rule("e8f0a2c4d6b81357924680acebdf1357", 1, 250);
const TYPING: Rule = rule("f4c8e0b2a6d91735862408acdbef9751", 5, 5000);
const HISTORY: Rule = rule("0d1c2b3a495867f6e5d4c3b2a1908f7e", 10, 5000);
const COMMANDS: Rule = rule("91b7d5f3c1ae8642086420fdb9753e1c", 5, 20_000);
const FOLLOW_UP: Rule = rule("3a6c9f2e5b8d1740c4f7a0d3e6b92851", 5, 2000);
const FOLLOW_UP_EDIT: Rule = rule("b2e5a8d1f4c7093625814fa7c0e3d6b9", 5, 5000);
const MEMBER: Rule = rule("6d9b2f5e8c1a4730e7d4a1b8f5c20963", 10, 10_000);
const OTHER: Rule = rule("c9a7e5d3b1f0284657839bdf02468ace", 20, 5000);

/// The rule of a route; none where Discord sends no bucket.
pub fn rule_of(method: &Method, template: &str) -> Option<Rule> {
    let method = method.as_str();
    Some(match (method, template) {
        (_, "/gateway" | "/interactions/{interaction_id}/{token}/callback") => return None,
        ("POST", "/channels/{channel_id}/messages") => SEND,
        ("GET", "/channels/{channel_id}/messages" | "/channels/{channel_id}/messages/{message_id}") => {
            HISTORY
        }
        ("PATCH", "/channels/{channel_id}/messages/{message_id}") => EDIT,
        ("DELETE", "/channels/{channel_id}/messages/{message_id}") => DELETE,
        ("POST", "/channels/{channel_id}/typing") => TYPING,
        ("POST", t) if t.starts_with("/webhooks/") => FOLLOW_UP,
        (_, t) if t.starts_with("/webhooks/") => FOLLOW_UP_EDIT,
        (_, t) if t.contains("/reactions/") => REACT,
        ("POST" | "PUT" | "PATCH", t) if t.contains("/commands") => COMMANDS,
        ("PUT" | "PATCH" | "DELETE", t) if t.contains("/members/") => MEMBER,
        _ => OTHER,
    })
}

/// Whether a route counts for the global limit.
pub fn is_global(template: &str) -> bool {
    !template.starts_with("/interactions/") && !template.starts_with("/webhooks/")
}

/// Where a request stands after it was counted.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    rule: Rule,
    limit: u32,
    remaining: u32,
    reset_after: Duration,
}

/// A request that comes too early.
#[derive(Clone, Copy, Debug)]
pub struct TooMany {
    /// Not before this.
    pub retry_after: Duration,
    /// `global` or `user`.
    pub global: bool,
    standing: Option<Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    begin: Instant,
    used: u32,
}

impl Window {
    fn left(&self, length: Duration) -> Duration {
        length.saturating_sub(self.begin.elapsed())
    }

    /// Counts one more; false when the limit was reached before.
    fn count(&mut self, limit: u32, length: Duration) -> bool {
        if self.begin.elapsed() >= length {
            *self = Self { begin: Instant::now(), used: 0 };
        }
        let free = self.used < limit;
        self.used += u32::from(free);
        free
    }
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<(&'static str, String), Window>,
    global: Option<Window>,
    invalid: VecDeque<Instant>,
}

/// All limits of one bot.
#[derive(Debug, Default)]
pub struct Limits(Mutex<State>);

impl Limits {
    /// Counts a request that the global limit holds for.
    ///
    /// # Errors
    /// When the second's share is used up.
    pub fn count_global(&self, options: &Options) -> Result<(), TooMany> {
        const SECOND: Duration = Duration::from_secs(1);
        let mut state = self.lock();
        let window = state.global.get_or_insert_with(|| Window { begin: Instant::now(), used: 0 });
        if window.count(options.requests_per_second, SECOND) {
            return Ok(());
        }
        Err(TooMany { retry_after: window.left(SECOND), global: true, standing: None })
    }

    /// Counts a request in its bucket; `major` is the channel, guild or webhook it is about.
    ///
    /// # Errors
    /// When the bucket is empty.
    pub fn count(&self, rule: Rule, major: &str, options: &Options) -> Result<Standing, TooMany> {
        let mut state = self.lock();
        if state.buckets.len() >= MAX_BUCKETS {
            state.buckets.retain(|_, window| window.begin.elapsed() < COMMANDS.window);
        }
        let limit = rule.limit.saturating_mul(options.bucket_scale.max(1));
        let window = state
            .buckets
            .entry((rule.bucket, major.to_owned()))
            .or_insert_with(|| Window { begin: Instant::now(), used: 0 });
        let free = window.count(limit, rule.window);
        let reset_after = window.left(rule.window);
        let standing = Standing { rule, limit, remaining: limit - window.used, reset_after };
        if free {
            Ok(standing)
        } else {
            Err(TooMany { retry_after: reset_after, global: false, standing: Some(standing) })
        }
    }

    /// Counts an answer of 401, 403 or 429.
    pub fn count_invalid(&self, options: &Options) {
        let mut state = self.lock();
        while state.invalid.front().is_some_and(|at| at.elapsed() > INVALID_WINDOW) {
            state.invalid.pop_front();
        }
        if state.invalid.len() < options.invalid_requests {
            state.invalid.push_back(Instant::now());
        }
    }

    /// How long the address is banned, if it is.
    pub fn banned(&self, options: &Options) -> Option<Duration> {
        let state = self.lock();
        let oldest = state.invalid.front().filter(|_| state.invalid.len() >= options.invalid_requests)?;
        Some(INVALID_WINDOW.saturating_sub(oldest.elapsed())).filter(|left| !left.is_zero())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Adds the headers that every answer of a bucket carries.
    pub fn write(&self, headers: &mut HeaderMap, skew_ms: i64) {
        let at_ms = now_ms().saturating_add(u64::try_from(self.reset_after.as_millis()).unwrap_or(0));
        let reset = at_ms.saturating_add_signed(skew_ms);
        set(headers, "x-ratelimit-bucket", self.rule.bucket);
        set(headers, "x-ratelimit-limit", &self.limit.to_string());
        set(headers, "x-ratelimit-remaining", &self.remaining.to_string());
        set(headers, "x-ratelimit-reset", &format!("{}.{:03}", reset / 1000, reset % 1000));
        set(headers, "x-ratelimit-reset-after", &format!("{:.3}", self.reset_after.as_secs_f64()));
    }
}

impl TooMany {
    /// One that a fault knob asks for.
    pub const fn ordered(retry_after: Duration, global: bool) -> Self {
        Self { retry_after, global, standing: None }
    }

    /// Adds the headers of a 429; only it has a scope and `Retry-After`.
    pub fn write(&self, headers: &mut HeaderMap, skew_ms: i64) {
        if let Some(standing) = &self.standing {
            standing.write(headers, skew_ms);
        }
        set(headers, "retry-after", &self.retry_after.as_secs_f64().ceil().to_string());
        set(headers, "x-ratelimit-scope", if self.global { "global" } else { "user" });
        if self.global {
            set(headers, "x-ratelimit-global", "true");
        }
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_down_per_channel_and_then_refuses() {
        let (limits, options) = (Limits::default(), Options::default());
        let left = |major| limits.count(SEND, major, &options).map(|standing| standing.remaining);
        assert_eq!((0..5).map(|_| left("1").unwrap()).collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
        let refused = left("1").unwrap_err();
        assert!(!refused.global && refused.retry_after > Duration::from_secs(4));
        assert_eq!(left("2").unwrap(), 4, "another channel has its own bucket");
    }
}
