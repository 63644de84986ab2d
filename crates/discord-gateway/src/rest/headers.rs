//! What the headers and body of a response tell about limits and time.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// The longest pause that is believed; a broken header must not stop a bot for ever.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long to stay away after a 429 that does not say.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// What a response tells about the bucket it was counted in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The bucket's name.
    pub bucket: Option<String>,
    /// Requests per window.
    pub limit: Option<u32>,
    /// Requests left in this window.
    pub remaining: Option<u32>,
    /// When the window ends.
    pub reset_after: Option<Duration>,
    /// The bucket was exceeded: nobody may ask for so long.
    pub closed_for: Option<Duration>,
}

/// Whose limit a 429 speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All requests of the bot.
    Global,
    /// A resource that others use too; not counted as an invalid request.
    Shared,
    /// The bot's own bucket.
    User,
}

/// A 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Whose limit it is.
    pub scope: Scope,
    /// How long to stay away.
    pub retry_after: Duration,
}

impl Limits {
    /// Reads the `X-RateLimit-*` headers.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        Self {
            bucket: text(headers, "x-ratelimit-bucket").map(str::to_owned),
            limit: text(headers, "x-ratelimit-limit").and_then(|text| text.parse().ok()),
            remaining: text(headers, "x-ratelimit-remaining").and_then(|text| text.parse().ok()),
            reset_after: text(headers, "x-ratelimit-reset-after").and_then(seconds),
            closed_for: None,
        }
    }
}

impl Limited {
    /// Reads a 429. Without `X-RateLimit-Scope` it did not come from Discord's own limiter but from
    /// what stands in front of it, which concerns all requests.
    #[must_use]
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            retry_after: f64,
            #[serde(default)]
            global: bool,
        }
        let body = serde_json::from_slice::<Body>(body).ok();
        let global = text(headers, "x-ratelimit-global").is_some_and(|text| text == "true")
            || body.as_ref().is_some_and(|body| body.global);
        let scope = match text(headers, "x-ratelimit-scope") {
            Some("shared") => Scope::Shared,
            Some("user") if !global => Scope::User,
            None if !global && body.is_some() => Scope::User,
            _ => Scope::Global,
        };
        let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(seconds);
        let body = body.and_then(|body| bounded(body.retry_after));
        let retry_after = match (header, body) {
            // The header is in whole seconds, rounded up or down; the body is exact.
            (Some(header), Some(body)) if header.abs_diff(body) > Duration::from_secs(1) => header.max(body),
            (_, Some(body)) => body,
            (Some(header), None) => header,
            (None, None) => DEFAULT_PAUSE,
        };
        Self { scope, retry_after }
    }
}

/// How far this machine's clock is ahead of the `Date` header, in seconds; negative when behind.
#[must_use]
pub fn clock_ahead_s(headers: &HeaderMap, now_ms: u64) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = OffsetDateTime::parse(date, &Rfc2822).ok()?.unix_timestamp();
    Some(i64::try_from(now_ms / 1000).ok()? - theirs)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(text: &str) -> Option<Duration> {
    bounded(text.trim().parse().ok()?)
}

fn bounded(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().map(|pause| pause.min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn limits_are_read_from_an_ordinary_response() {
        let limits = Limits::read(&headers(&[
            ("x-ratelimit-bucket", "abcd1234"),
            ("x-ratelimit-limit", "5"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset-after", "1.25"),
        ]));
        assert_eq!((limits.limit, limits.remaining), (Some(5), Some(0)));
        assert_eq!(limits.reset_after, Some(Duration::from_millis(1250)));
        assert_eq!(Limits::read(&headers(&[("x-ratelimit-limit", "many")])), Limits::default());
    }

    #[test]
    fn a_429_says_whose_limit_and_how_long() {
        let shared = headers(&[("x-ratelimit-scope", "shared"), ("retry-after", "2")]);
        let body = br#"{"message":"","retry_after":1.336,"global":false}"#;
        let limited = Limited::read(&shared, body);
        assert_eq!(limited, Limited { scope: Scope::Shared, retry_after: Duration::from_millis(1336) });
        let global = headers(&[("x-ratelimit-global", "true"), ("x-ratelimit-scope", "global")]);
        assert_eq!(Limited::read(&global, body).scope, Scope::Global);
        let edge = Limited::read(&headers(&[("retry-after", "60")]), b"error code: 1015");
        assert_eq!(edge, Limited { scope: Scope::Global, retry_after: Duration::from_secs(60) });
        assert_eq!(Limited::read(&HeaderMap::new(), b"").retry_after, DEFAULT_PAUSE);
        assert_eq!(Limited::read(&headers(&[("retry-after", "1e300")]), b"").retry_after, DEFAULT_PAUSE);
    }

    #[test]
    fn the_clock_is_compared_with_the_date_header() {
        let date = headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(clock_ahead_s(&date, 784_111_777_000), Some(0));
        assert_eq!(clock_ahead_s(&date, 784_111_700_000), Some(-77));
        assert_eq!(clock_ahead_s(&HeaderMap::new(), 0), None);
    }
}
