//! What every request passes: faults, the token, the limits; and the headers that it gets.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, DATE, RETRY_AFTER, VIA},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

use super::Shared;
use crate::discord::{
    Inner,
    error::ApiError,
    limits::{Standing, TooMany, is_global, rule_of},
    snowflake::now_ms,
};

/// RFC 9110's date.
const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The gate of one route.
#[derive(Clone)]
pub struct Gate {
    /// The Discord that it belongs to.
    pub inner: Shared,
    /// The route as the documentation writes it, without the version.
    pub template: Arc<str>,
}

/// Runs before and after every route.
pub async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { inner, template } = gate;
    let route = format!("{} {template}", request.method());
    inner.counters.add(&format!("discord.rest.{route}"));
    let knobs = inner.faults.get();
    pause(knobs.delay_ms).await;
    let mut response = match admit(&inner, &template, &route, &request) {
        Ok(standing) => {
            let mut response = next.run(request).await;
            if let Some(standing) = standing {
                standing.write(response.headers_mut(), knobs.clock_skew_ms);
            }
            response
        }
        Err(Stopped::Error(error)) => error.into_response(),
        Err(Stopped::TooMany(too_many)) => refuse(&too_many, knobs.clock_skew_ms),
        Err(Stopped::Banned(left)) => ban(left),
    };
    pause(knobs.rest_slow_ms).await;
    inner.account(response.status());
    if knobs.clock_skew_ms != 0 {
        skew_date(response.headers_mut(), knobs.clock_skew_ms);
    }
    response
}

/// Why a request does not reach its route.
enum Stopped {
    Error(ApiError),
    TooMany(TooMany),
    Banned(Duration),
}

fn admit(inner: &Inner, template: &str, route: &str, request: &Request) -> Result<Option<Standing>, Stopped> {
    if let Some(fault) = inner.faults.take_rest(route) {
        let retry_after = Duration::from_millis(fault.retry_after_ms);
        let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Stopped::TooMany(TooMany::ordered(retry_after, fault.global)),
            status => Stopped::Error(ApiError::plain(status)),
        });
    }
    if let Some(left) = inner.limits.banned(&inner.options) {
        return Err(Stopped::Banned(left));
    }
    if needs_token(template) && !authorized(inner, request.headers()) {
        return Err(Stopped::Error(ApiError::UNAUTHORIZED));
    }
    if is_global(template) {
        inner.limits.count_global(&inner.options).map_err(Stopped::TooMany)?;
    }
    let Some(rule) = rule_of(request.method(), template) else { return Ok(None) };
    let major = major(template, request.uri().path());
    inner.limits.count(rule, &major, &inner.options).map(Some).map_err(Stopped::TooMany)
}

impl Inner {
    fn account(&self, status: StatusCode) {
        let code = status.as_u16();
        if code >= 400 {
            self.counters.add(&format!("discord.rest.{code}"));
        }
        if matches!(code, 401 | 403 | 429) {
            self.counters.add("discord.rest.invalid");
            self.limits.count_invalid(&self.options);
        }
    }
}

fn refuse(too_many: &TooMany, skew_ms: i64) -> Response {
    let retry_after = (too_many.retry_after.as_secs_f64() * 1000.0).ceil() / 1000.0;
    let message = "You are being rate limited.";
    let body = json!({ "message": message, "retry_after": retry_after, "global": too_many.global });
    let mut response = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
    too_many.write(response.headers_mut(), skew_ms);
    // Libraries tell Discord's own 429 from a ban at the door by this header.
    response.headers_mut().insert(VIA, HeaderValue::from_static("1.1 google"));
    response
}

/// What stands before Discord answers by itself, so nothing of it looks like Discord.
fn ban(left: Duration) -> Response {
    let retry_after = left.as_secs().max(1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, retry_after)], "error code: 1015").into_response()
}

/// These carry their own token in the path, or need none.
fn needs_token(template: &str) -> bool {
    template != "/gateway" && !template.starts_with("/interactions/") && !template.starts_with("/webhooks/")
}

fn authorized(inner: &Inner, headers: &HeaderMap) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bot ")).is_some_and(|token| inner.token_is_good(token))
}

/// The channel, guild or webhook that a bucket belongs to; it stands second in the path.
fn major(template: &str, path: &str) -> String {
    let begin = template.split('/').nth(1).unwrap_or_default();
    let mut after = path.split('/').skip_while(|part| *part != begin).skip(1);
    let depth = if begin == "webhooks" { 2 } else { 1 };
    let parts: Vec<&str> = after.by_ref().take(depth).collect();
    // Commands of different guilds are different things.
    let guild = after.next().filter(|_| begin == "applications").map(|_| path);
    guild.map_or_else(|| parts.join("/"), str::to_owned)
}

fn skew_date(headers: &mut HeaderMap, skew_ms: i64) {
    let at = i128::from(now_ms().saturating_add_signed(skew_ms)) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(at).ok().and_then(|at| at.format(HTTP_DATE).ok());
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        headers.insert(DATE, date);
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_told_apart_by_channel_guild_and_webhook() {
        let check = |template: &str, path: &str, expected: &str| {
            assert_eq!(major(template, path), expected, "{path}");
        };
        check("/channels/{channel_id}/messages", "/api/v10/channels/7/messages", "7");
        check("/guilds/{guild_id}/roles", "/api/v10/guilds/8/roles", "8");
        check("/webhooks/{application_id}/{token}", "/api/v10/webhooks/9/abc", "9/abc");
        check("/users/@me", "/api/v10/users/@me", "@me");
    }
}
