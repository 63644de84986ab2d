//! Access tokens: who has which, and `id.twitch.tv/oauth2` (token, validate, revoke).
//! Source: dev.twitch.tv/docs/authentication (validate, refresh, revoke, client credentials).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, RawQuery, State as Shared},
    http::{HeaderMap, StatusCode, Uri, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{Inner, Options};

/// Tokens that are valid at once; the oldest go first.
const MAX_TOKENS: usize = 4096;

/// How long an app token lives. Twitch gives about 60 days.
const APP_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);

/// What a bot asks for to read and write chat over IRC, Helix and EventSub.
const BOT_SCOPES: [&str; 5] = ["chat:edit", "chat:read", "user:bot", "user:read:chat", "user:write:chat"];

/// What a broadcaster grants besides.
const BROADCASTER_SCOPES: [&str; 4] =
    ["channel:bot", "channel:manage:broadcast", "channel:read:subscriptions", "moderator:read:followers"];

/// Deletes chat messages. A broadcaster's token has it, a bot's when the options say so.
pub(crate) const DELETE_SCOPE: &str = "moderator:manage:chat_messages";

/// An access token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Login of the account; `None` for an app access token.
    pub(crate) login: Option<String>,
    pub(crate) scopes: Arc<[String]>,
    expires_at: Instant,
    refresh: Option<String>,
}

/// All tokens of one local Twitch.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    valid: HashMap<String, Token>,
    order: VecDeque<String>,
    /// Refresh token to login and scopes.
    refreshable: HashMap<String, (String, Arc<[String]>)>,
}

impl Token {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }
}

impl Tokens {
    pub(crate) fn new(options: &Options) -> Self {
        let mut tokens = Self::default();
        let all = || BOT_SCOPES.into_iter().chain(BROADCASTER_SCOPES).map(str::to_owned);
        for bot in std::iter::once(&options.bot).chain(&options.more_bots) {
            let scopes: Arc<[String]> = all().chain(options.more_scopes.iter().cloned()).collect();
            tokens.refreshable.insert(bot.refresh_token.clone(), (bot.login.clone(), scopes.clone()));
            tokens.add(
                bot.token.clone(),
                Token {
                    login: Some(bot.login.clone()),
                    scopes,
                    expires_at: Instant::now() + options.token_lifetime,
                    refresh: Some(bot.refresh_token.clone()),
                },
            );
        }
        for channel in &options.channels {
            let scopes: Arc<[String]> = all().chain([DELETE_SCOPE.to_owned()]).collect();
            let refresh = format!("sandbox-refresh-{channel}");
            tokens.refreshable.insert(refresh.clone(), (channel.clone(), scopes.clone()));
            let token = Token {
                login: Some(channel.clone()),
                scopes,
                expires_at: Instant::now() + options.token_lifetime,
                refresh: Some(refresh),
            };
            tokens.add(format!("sandbox-{channel}"), token);
        }
        tokens
    }

    /// A token that is known and has not expired.
    pub(crate) fn valid(&self, token: &str) -> Option<&Token> {
        self.valid.get(token).filter(|token| token.expires_at > Instant::now())
    }

    /// The login a token opens IRC for.
    pub(crate) fn irc_login(&self, token: &str) -> Option<String> {
        let token = self.valid(token)?;
        if token.has("chat:read") || token.has("chat:edit") { token.login.clone() } else { None }
    }

    /// Makes a token unknown at once; `false` when it was.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        self.order.retain(|other| other != token);
        self.valid.remove(token).is_some()
    }

    /// Lets a token run out now; `false` when it is not known.
    pub(crate) fn expire(&mut self, token: &str) -> bool {
        let Some(token) = self.valid.get_mut(token) else {
            return false;
        };
        token.expires_at = Instant::now();
        true
    }

    fn add(&mut self, text: String, token: Token) {
        if self.order.len() == MAX_TOKENS
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.valid.remove(&oldest)
            && let Some(refresh) = gone.refresh
        {
            self.refreshable.remove(&refresh);
        }
        self.order.push_back(text.clone());
        self.valid.insert(text, token);
    }

    fn app(&mut self) -> Value {
        let text = random_token();
        let token = Token {
            login: None,
            scopes: Arc::default(),
            expires_at: Instant::now() + APP_TOKEN_LIFETIME,
            refresh: None,
        };
        self.add(text.clone(), token);
        let expires_in = APP_TOKEN_LIFETIME.as_secs();
        json!({"access_token": text, "expires_in": expires_in, "token_type": "bearer"})
    }

    /// A new access token for a refresh token, which is replaced. The old access token lives on until
    /// it expires, as on Twitch.
    fn refresh(&mut self, refresh: &str, lifetime: Duration) -> Option<Value> {
        let (login, scopes) = self.refreshable.remove(refresh)?;
        let (access, next) = (random_token(), random_token());
        self.refreshable.insert(next.clone(), (login.clone(), scopes.clone()));
        let token = Token {
            login: Some(login),
            scopes: scopes.clone(),
            expires_at: Instant::now() + lifetime,
            refresh: Some(next.clone()),
        };
        self.add(access.clone(), token);
        Some(json!({
            "access_token": access,
            "expires_in": lifetime.as_secs(),
            "refresh_token": next,
            "scope": &*scopes,
            "token_type": "bearer",
        }))
    }
}

/// `token`, `validate` and `revoke`, to be mounted where a client expects them.
pub(crate) fn router() -> Router<Arc<Inner>> {
    Router::new()
        .route("/token", post(token))
        .route("/validate", get(validate))
        .route("/revoke", post(revoke))
}

async fn token(Shared(twitch): Shared<Arc<Inner>>, query: RawQuery, form: Bytes) -> Response {
    twitch.counters.add("twitch.oauth.token");
    if let Some(failed) = fault(&twitch) {
        return failed;
    }
    let fields = fields(query, &form);
    let field = |name: &str| fields.get(name).map(String::as_str);
    let Some(client_id) = field("client_id") else {
        return refused(StatusCode::BAD_REQUEST, "missing client id");
    };
    if client_id != twitch.options.client_id {
        return refused(StatusCode::BAD_REQUEST, "invalid client");
    }
    match field("client_secret") {
        None => return refused(StatusCode::BAD_REQUEST, "missing client secret"),
        Some(secret) if secret != twitch.options.client_secret => {
            return refused(StatusCode::FORBIDDEN, "invalid client secret");
        }
        Some(_) => {}
    }
    match field("grant_type") {
        Some("client_credentials") => {
            twitch.counters.add("twitch.oauth.app_token");
            Json(twitch.tokens().app()).into_response()
        }
        Some("refresh_token") => {
            let Some(refresh) = field("refresh_token") else {
                return refused(StatusCode::BAD_REQUEST, "missing refresh token");
            };
            let renewed = twitch.tokens().refresh(refresh, twitch.options.refreshed_token_lifetime);
            match renewed {
                Some(body) => {
                    twitch.counters.add("twitch.oauth.refreshed");
                    Json(body).into_response()
                }
                None => refused(StatusCode::BAD_REQUEST, "Invalid refresh token"),
            }
        }
        Some(_) => refused(StatusCode::BAD_REQUEST, "invalid grant type"),
        None => refused(StatusCode::BAD_REQUEST, "missing grant type"),
    }
}

async fn validate(Shared(twitch): Shared<Arc<Inner>>, headers: HeaderMap) -> Response {
    twitch.counters.add("twitch.oauth.validate");
    if let Some(failed) = fault(&twitch) {
        return failed;
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given =
        given.and_then(|value| value.strip_prefix("OAuth ").or_else(|| value.strip_prefix("Bearer ")));
    let Some(given) = given else {
        return refused(StatusCode::UNAUTHORIZED, "missing authorization token");
    };
    let Some(token) = twitch.tokens().valid(given).cloned() else {
        return refused(StatusCode::UNAUTHORIZED, "invalid access token");
    };
    let expires_in = token.expires_at.saturating_duration_since(Instant::now()).as_secs();
    let client_id = &twitch.options.client_id;
    let account = token.login.and_then(|login| twitch.state().accounts.get(&login).cloned());
    let body = match account {
        Some(account) => json!({
            "client_id": client_id,
            "login": account.login,
            "scopes": &*token.scopes,
            "user_id": account.id,
            "expires_in": expires_in,
        }),
        None => json!({"client_id": client_id, "scopes": null, "expires_in": expires_in}),
    };
    Json(body).into_response()
}

async fn revoke(Shared(twitch): Shared<Arc<Inner>>, query: RawQuery, form: Bytes) -> Response {
    twitch.counters.add("twitch.oauth.revoke");
    let fields = fields(query, &form);
    if fields.get("client_id") != Some(&twitch.options.client_id) {
        return refused(StatusCode::NOT_FOUND, "client does not exist");
    }
    match fields.get("token") {
        None => refused(StatusCode::BAD_REQUEST, "missing oauth token"),
        Some(token) if twitch.revoke_token(token) => StatusCode::OK.into_response(),
        Some(_) => refused(StatusCode::BAD_REQUEST, "Invalid token"),
    }
}

fn fault(twitch: &Inner) -> Option<Response> {
    let status = StatusCode::from_u16(twitch.faults.take_oauth()?).ok()?;
    Some(refused(status, status.canonical_reason().unwrap_or_default()))
}

/// Parameters come in the query, in the body, or in both.
fn fields(RawQuery(query): RawQuery, form: &[u8]) -> HashMap<String, String> {
    let query = query.unwrap_or_default();
    let form = String::from_utf8_lossy(form);
    // A form body is written like a query, so the reader of queries reads it as well.
    let parsed = [query.as_str(), form.trim()]
        .into_iter()
        .filter_map(|text| format!("/?{text}").parse::<Uri>().ok())
        .filter_map(|uri| Query::<HashMap<String, String>>::try_from_uri(&uri).ok());
    parsed.flat_map(|Query(fields)| fields).collect()
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"status": status.as_u16(), "message": message}))).into_response()
}

/// 30 characters of a-z and 0-9, as Twitch's own tokens.
fn random_token() -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..30).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect()
}
