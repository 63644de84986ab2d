//! Helix: who may ask, how often, and the shape of every answer. The routes are in the modules here.
//! Source: dev.twitch.tv/docs/api/guide ("Twitch API Rate Limits") and the Helix reference.

mod channels;
mod chat;
mod eventsub;
mod moderation;
mod streams;
mod users;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{FromRequestParts, Request, State as Shared},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header::AUTHORIZATION, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::json;

use super::{Inner, oauth::Token, people::Account};

/// Points per minute, per client and user.
const POINTS: u32 = 800;

/// Points per minute of `POST chat/messages`, which has a bucket of its own, "often much bigger".
/// The documentation gives no figure.
const CHAT_POINTS: u32 = 6000;

/// The routes there are, for the counters.
const ROUTES: [&str; 6] =
    ["/users", "/streams", "/channels", "/chat/messages", "/moderation/chat", "/eventsub/subscriptions"];

/// Values of one repeated query parameter that are looked at.
const MAX_VALUES: usize = 100;

/// A refused request, in Helix's shape.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "error": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "message": self.message,
        });
        (self.status, Json(body)).into_response()
    }
}

/// Who asks: the token, and its account unless it is an app access token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: Token,
    pub(crate) account: Option<Arc<Account>>,
}

impl Caller {
    /// # Errors
    /// 401 when the token lacks the scope.
    pub(crate) fn needs(&self, scope: &str) -> Result<(), Refusal> {
        if self.token.has(scope) {
            return Ok(());
        }
        Err(Refusal::unauthorized(format!("Missing scope: {scope}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Refusal::unauthorized("OAuth token is missing"))
    }
}

/// The points that are left, per client and user and bucket.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Mutex<HashMap<(String, bool), Bucket>>);

#[derive(Debug)]
struct Bucket {
    points: f64,
    at: Instant,
}

/// What the `Ratelimit-*` headers say.
struct Left {
    limit: u32,
    remaining: Option<u32>,
    reset: u64,
}

impl Buckets {
    /// Takes a point, `remaining` is `None` when there was none.
    fn take(&self, who: &str, chat: bool) -> Left {
        let limit = if chat { CHAT_POINTS } else { POINTS };
        let now = Instant::now();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket =
            buckets.entry((who.to_owned(), chat)).or_insert(Bucket { points: f64::from(limit), at: now });
        let per_second = f64::from(limit) / 60.0;
        let refilled = bucket.points + now.duration_since(bucket.at).as_secs_f64() * per_second;
        bucket.points = refilled.min(f64::from(limit));
        bucket.at = now;
        let enough = bucket.points >= 1.0;
        if enough {
            bucket.points -= 1.0;
        }
        let seconds = (f64::from(limit) - bucket.points) / per_second;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Left {
            limit,
            remaining: enough.then_some(bucket.points as u32),
            reset: since.as_secs() + seconds.ceil() as u64,
        }
    }

    /// Empties the buckets of everybody, so that the next requests are answered 429.
    pub(crate) fn exhaust(&self) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bucket in buckets.values_mut() {
            bucket.points = 0.0;
            bucket.at = Instant::now();
        }
    }
}

/// Every route of Helix, to be mounted where a client expects it.
pub(crate) fn router(twitch: &Arc<Inner>) -> Router<Arc<Inner>> {
    Router::new()
        .route("/users", get(users::get))
        .route("/streams", get(streams::get))
        .route("/channels", get(channels::get))
        .route("/chat/messages", post(chat::send))
        .route("/moderation/chat", delete(moderation::delete))
        .merge(subscriptions())
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, ""))
        .method_not_allowed_fallback(async || Refusal::new(StatusCode::NOT_FOUND, ""))
        .layer(from_fn_with_state(twitch.clone(), guard))
}

/// Only the subscriptions, which a mock-aware client looks for at the root.
pub(crate) fn subscriptions_only(twitch: &Arc<Inner>) -> Router<Arc<Inner>> {
    subscriptions().layer(from_fn_with_state(twitch.clone(), guard))
}

fn subscriptions() -> Router<Arc<Inner>> {
    let methods = post(eventsub::create).get(eventsub::list).delete(eventsub::delete);
    Router::new().route("/eventsub/subscriptions", methods)
}

/// Counts, delays and fails as the knobs say.
async fn guard(Shared(twitch): Shared<Arc<Inner>>, request: Request, next: Next) -> Response {
    // Inside a nested router the path has lost what it is mounted under.
    let path = request.uri().path();
    let route = ROUTES.into_iter().find(|route| *route == path).unwrap_or("other");
    twitch.counters.add(&format!("twitch.helix.{} {route}", request.method()));
    let chat = request.method() == Method::POST && route == "/chat/messages";
    let fault = twitch.faults.take_helix();
    let failed = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
    let response = if fault.done {
        let done = answer(&twitch, request, next, chat).await;
        tokio::time::sleep(fault.slow).await;
        failed.map(refused).unwrap_or(done)
    } else {
        tokio::time::sleep(fault.slow).await;
        match failed {
            Some(status) => refused(status),
            None => answer(&twitch, request, next, chat).await,
        }
    };
    twitch.counters.add(&format!("twitch.helix.status.{}", response.status().as_u16()));
    response
}

fn refused(status: StatusCode) -> Response {
    Refusal::new(status, "").into_response()
}

/// Checks the token, takes a point and does what is asked.
async fn answer(twitch: &Inner, mut request: Request, next: Next, chat: bool) -> Response {
    let (caller, who) = match authorize(twitch, request.headers()) {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let left = twitch.buckets.take(&who, chat);
    request.extensions_mut().insert(caller);
    let mut response = match left.remaining {
        Some(_) => next.run(request).await,
        None => refused(StatusCode::TOO_MANY_REQUESTS),
    };
    let headers = response.headers_mut();
    headers.insert("ratelimit-limit", HeaderValue::from(left.limit));
    headers.insert("ratelimit-remaining", HeaderValue::from(left.remaining.unwrap_or(0)));
    headers.insert("ratelimit-reset", HeaderValue::from(left.reset));
    response
}

fn authorize(twitch: &Inner, headers: &HeaderMap) -> Result<(Caller, String), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| Refusal::unauthorized("OAuth token is missing"))?;
    let client_id = text("client-id").ok_or_else(|| Refusal::unauthorized("Client ID is missing"))?;
    let token =
        twitch.tokens().valid(token).cloned().ok_or_else(|| Refusal::unauthorized("Invalid OAuth token"))?;
    if client_id != twitch.options.client_id {
        return Err(Refusal::unauthorized("Client ID and OAuth token do not match"));
    }
    let login = token.login.clone().unwrap_or_default();
    let account = twitch.state().accounts.get(&login).cloned();
    Ok((Caller { token, account }, login))
}

/// Every value of a repeated query parameter, at most 100 as Helix allows.
pub(crate) fn values(query: &[(String, String)], name: &str) -> Vec<String> {
    let named = query.iter().filter(|(key, _)| key == name);
    named.map(|(_, value)| value.to_ascii_lowercase()).take(MAX_VALUES).collect()
}
