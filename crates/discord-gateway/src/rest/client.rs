//! Sends one request: under the limits, within the budget, again when Discord failed, never with a
//! token that Discord refused.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::{Instrument, Span, debug, field, info_span, warn};

use super::{
    Call, Counts, Limiter, RestError, Trouble,
    budget::Budget,
    headers::{Limited, Limits, Scope, clock_ahead_s},
};

/// Discord wants to know whom to ask: <https://docs.discord.com/developers/reference#user-agent>.
const AGENT: &str =
    concat!("DiscordBot (", env!("CARGO_PKG_REPOSITORY"), ", ", env!("CARGO_PKG_VERSION"), ")");
const _: () = assert!(!env!("CARGO_PKG_REPOSITORY").is_empty(), "Cargo.toml: expected a repository");
/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes; a big guild has some 500 KB.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// The first pause after a failure; it doubles up to [`MAX_PAUSE`], half of it at random.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A clock that is further off than this is worth a warning, in seconds.
const MAX_CLOCK_SKEW_S: i64 = 30;

/// A good answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The body; empty for 204.
    pub body: Bytes,
    /// How long Discord took for the try that succeeded.
    pub took: Duration,
}

impl Reply {
    /// Reads the body.
    ///
    /// # Errors
    /// When it does not have the shape of `T`.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// The only way to Discord's REST API.
#[derive(Debug)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    token: HeaderValue,
    limiter: Limiter,
    budget: Budget,
    trouble: watch::Sender<Trouble>,
    counts: Counts,
    clock_warned: AtomicBool,
}

/// What one try came to.
enum Try {
    Done(Reply),
    Failed(RestError),
    /// Again, at the earliest then.
    Again {
        at: Instant,
        why: RestError,
    },
}

/// There was no answer.
struct Failure {
    reason: String,
    /// Discord may have got the request.
    taken: bool,
}

impl Rest {
    /// A client for the API at `url` (`https://discord.com`).
    ///
    /// # Errors
    /// When the token cannot be a header or TLS cannot be set up.
    pub fn new(url: &str, token: &SecretString, per_second: u32, counts: Counts) -> anyhow::Result<Self> {
        let mut token = HeaderValue::from_str(&format!("Bot {}", token.expose_secret()))
            .context("DISCORD_TOKEN: expected a token as the developer portal shows it")?;
        token.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Self {
            http,
            base: format!("{}/api/v10/", url.trim_end_matches('/')),
            token,
            limiter: Limiter::new(per_second),
            budget: Budget::default(),
            trouble: watch::Sender::new(Trouble::None),
            counts,
            clock_warned: AtomicBool::new(false),
        })
    }

    /// The budget of invalid requests, to be saved and restored.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What Discord grants the bot is shared with other gateways: this one takes an equal part.
    pub fn share_with(&self, gateways: usize) {
        self.limiter.share_with(gateways);
        self.budget.share_with(u32::try_from(gateways).unwrap_or(u32::MAX));
    }

    /// How many rate-limit buckets are known, and how many of them have nothing left now.
    #[must_use]
    pub fn buckets(&self) -> (usize, usize) {
        self.limiter.buckets_in_use()
    }

    /// What keeps all requests back, if anything.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.subscribe()
    }

    /// Waits until what keeps requests back changes, also by itself when the window of a spent budget
    /// ends and nobody asks for anything.
    pub async fn trouble_changed(&self, trouble: &mut watch::Receiver<Trouble>) -> Trouble {
        let seen = *trouble.borrow();
        let over = async {
            match seen {
                Trouble::BudgetSpent { until_ms } => {
                    let left = until_ms.saturating_sub(service::clock::unix_ms());
                    sleep(Duration::from_millis(left)).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            // An error cannot be: the sender is `self`.
            _ = trouble.changed() => {}
            () = over => match self.budget.closed_until_ms(service::clock::unix_ms()) {
                Some(until_ms) => self.closed(until_ms),
                None => self.opened(),
            },
        }
        *trouble.borrow_and_update()
    }

    /// Sends a request and, as long as `deadline` is not over, sends it again after 429, 5xx and
    /// failures of the network; one that is not repeatable only after 429 and when there was no
    /// connection. `on_wait` is told of every wait for a limit.
    ///
    /// # Errors
    /// [`RestError`] for everything but a success.
    pub async fn call(
        &self,
        call: &Call,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Result<Reply, RestError> {
        let mut failures = 0;
        loop {
            let (at, why) = match self.attempt(call, deadline, on_wait).await {
                Try::Done(reply) => return Ok(reply),
                Try::Failed(error) => return Err(error),
                Try::Again { at, why } => (at, why),
            };
            let at = match why {
                RestError::RateLimited { wait } => {
                    on_wait(wait);
                    at
                }
                _ => {
                    failures += 1;
                    debug!(route = call.place.route, failures, error = %why, "trying again");
                    Instant::now() + pause(failures)
                }
            };
            if at > deadline {
                return Err(why);
            }
            sleep_until(at).await;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        deadline: Instant,
        on_wait: &(dyn Fn(Duration) + Send + Sync),
    ) -> Try {
        if let Err(error) = self.may_ask(call) {
            return Try::Failed(error);
        }
        let permit = if call.limited {
            match self.limiter.acquire(call.place, deadline, on_wait).await {
                Ok(permit) => Some(permit),
                Err(late) => return Try::Failed(RestError::RateLimited { wait: late.wait }),
            }
        } else {
            None
        };
        // Others may have spent the budget or lost the token while this one waited.
        if let Err(error) = self.may_ask(call) {
            return Try::Failed(error);
        }
        let started = Instant::now();
        let (status, headers, body) = match self.send(call, deadline.min(started + TRY_LIMIT)).await {
            Ok(answer) => answer,
            Err(Failure { reason, taken }) => {
                self.counts.unanswered();
                let why = RestError::Unreachable { reason };
                return if taken && !call.repeatable {
                    Try::Failed(why)
                } else {
                    Try::Again { at: started, why }
                };
            }
        };
        self.check_clock(&headers);
        let limited = (status == StatusCode::TOO_MANY_REQUESTS).then(|| Limited::read(&headers, &body));
        self.counts.answered(status, limited.map(|limited| limited.scope));
        if let Some(permit) = permit {
            let mut limits = Limits::read(&headers);
            limits.closed_for =
                limited.filter(|limited| limited.scope != Scope::Global).map(|limited| limited.retry_after);
            self.limiter.learn(permit, &limits);
        }
        self.judge(call, status, limited, Reply { body, took: started.elapsed() })
    }

    fn judge(&self, call: &Call, status: StatusCode, limited: Option<Limited>, reply: Reply) -> Try {
        if status.is_success() {
            return Try::Done(reply);
        }
        if let Some(Limited { scope, retry_after }) = limited {
            debug!(route = call.place.route, ?scope, ?retry_after, "429");
            if scope != Scope::Shared {
                self.spend();
            }
            if scope == Scope::Global && call.limited {
                self.limiter.pause_all(retry_after);
            }
            let why = RestError::RateLimited { wait: retry_after };
            return Try::Again { at: Instant::now() + retry_after, why };
        }
        if status.is_server_error() {
            let reason = format!("discord answered {status}");
            let why = RestError::Unreachable { reason };
            return if call.repeatable { Try::Again { at: Instant::now(), why } } else { Try::Failed(why) };
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            self.spend();
        }
        // An interaction's own token can be refused too, and says nothing about the bot's.
        if status == StatusCode::UNAUTHORIZED && call.authorized {
            self.trouble.send_replace(Trouble::TokenRefused);
            return Try::Failed(RestError::TokenRefused);
        }
        Try::Failed(RestError::refused(status, &reply.body))
    }

    async fn send(
        &self,
        call: &Call,
        until: Instant,
    ) -> Result<(StatusCode, reqwest::header::HeaderMap, Bytes), Failure> {
        let span = info_span!(
            "discord.request",
            otel.kind = "client",
            http.request.method = %call.method,
            http.route = call.place.route,
            http.response.status_code = field::Empty,
        );
        let work = async {
            let mut request = self.http.request(call.method.clone(), format!("{}{}", self.base, call.path));
            request = request.header(USER_AGENT, AGENT);
            if call.authorized {
                request = request.header(AUTHORIZATION, self.token.clone());
            }
            if let Some(body) = &call.body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            }
            let sent = request.send().await;
            let answer =
                sent.map_err(|error| Failure { reason: describe(&error), taken: !error.is_connect() })?;
            Span::current().record("http.response.status_code", answer.status().as_u16());
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = read(answer).await.map_err(|reason| Failure { reason, taken: true })?;
            Ok((status, headers, body))
        };
        match timeout_at(until, work.instrument(span)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure { reason: "discord did not answer in time".to_owned(), taken: true }),
        }
    }

    /// Refuses where asking would do harm.
    fn may_ask(&self, call: &Call) -> Result<(), RestError> {
        if call.authorized && *self.trouble.borrow() == Trouble::TokenRefused {
            return Err(RestError::TokenRefused);
        }
        match self.budget.closed_until_ms(service::clock::unix_ms()) {
            None => {
                self.opened();
                Ok(())
            }
            Some(until_ms) => {
                self.closed(until_ms);
                Err(RestError::BudgetSpent { until_ms })
            }
        }
    }

    fn spend(&self) {
        let now_ms = service::clock::unix_ms();
        self.budget.spend(now_ms);
        if let Some(until_ms) = self.budget.closed_until_ms(now_ms) {
            self.closed(until_ms);
        }
    }

    fn closed(&self, until_ms: u64) {
        self.trouble.send_if_modified(|trouble| {
            let spent = Trouble::BudgetSpent { until_ms };
            let news = *trouble != Trouble::TokenRefused && *trouble != spent;
            if news {
                *trouble = spent;
            }
            news
        });
    }

    fn opened(&self) {
        self.trouble.send_if_modified(|trouble| {
            let was_spent = matches!(trouble, Trouble::BudgetSpent { .. });
            if was_spent {
                *trouble = Trouble::None;
            }
            was_spent
        });
    }

    fn check_clock(&self, headers: &reqwest::header::HeaderMap) {
        let Some(ahead_s) = clock_ahead_s(headers, service::clock::unix_ms()) else { return };
        #[allow(clippy::cast_precision_loss, reason = "a gauge of seconds")]
        self.counts.clock_ahead_s.set(ahead_s as f64);
        if ahead_s.abs() > MAX_CLOCK_SKEW_S && !self.clock_warned.swap(true, Ordering::Relaxed) {
            warn!(
                ahead_s,
                "this machine's clock is off against discord's; set it (timedatectl set-ntp true), or \
                 messages look late and are dropped"
            );
        }
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| describe(&error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(format!("discord's answer has more than {MAX_BODY_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn pause(failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(MAX_PAUSE);
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The whole chain, without the URL: the URL of an interaction holds its secret token.
fn describe(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if !text.is_empty() {
            text += ": ";
        }
        text += &cause.to_string();
        next = cause.source();
    }
    if text.is_empty() { "the request failed".to_owned() } else { text }
}
