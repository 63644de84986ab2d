//! The REST client against a server that answers with real limit headers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, USER_AGENT},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use discord_gateway::{
    facts::Facts,
    frame::{Guild, Snowflake},
    rest::{Call, Counts, Place, Rest, RestError, Trouble, budget::Slot, silently},
};
use protocol::Rank;
use reqwest::Method;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use crate::rig::LONG;

const WINDOW: Duration = Duration::from_millis(600);
const LIMIT: u32 = 3;

/// What the server does, and what it saw.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Seen>>);

type Scripted = (StatusCode, Vec<(&'static str, String)>, String);

#[derive(Default)]
struct Seen {
    window: Option<(Instant, u32)>,
    requests: u32,
    exceeded: u32,
    /// Answers to give instead, last one first.
    script: Vec<Scripted>,
    always: Option<StatusCode>,
    authorized: bool,
    agent: String,
}

impl Server {
    async fn start(&self) -> Rest {
        service::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/v10/{*path}", get(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Rest::new(&url, &"secret".into(), 50, Counts::new(&service::Metrics::default())).unwrap()
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

async fn answer(State(server): State<Server>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    server.seen(|seen| {
        seen.requests += 1;
        seen.authorized = headers.get(AUTHORIZATION).is_some_and(|value| value == "Bot secret");
        seen.agent = headers.get(USER_AGENT).unwrap().to_str().unwrap().to_owned();
        if let Some(status) = seen.always {
            return status.into_response();
        }
        if let Some((status, headers, body)) = seen.script.pop() {
            let headers: HeaderMap = headers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            return (status, headers, body).into_response();
        }
        if path.starts_with("free") {
            return StatusCode::OK.into_response();
        }
        let now = Instant::now();
        let (ends, used) = match seen.window {
            Some((ends, used)) if ends > now => (ends, used + 1),
            _ => (now + WINDOW, 1),
        };
        seen.window = Some((ends, used));
        if used > LIMIT {
            seen.exceeded += 1;
        }
        let headers = [
            ("x-ratelimit-bucket", "b1".to_owned()),
            ("x-ratelimit-limit", LIMIT.to_string()),
            ("x-ratelimit-remaining", LIMIT.saturating_sub(used).to_string()),
            ("x-ratelimit-reset-after", (ends - now).as_secs_f64().to_string()),
        ];
        (headers, "{}").into_response()
    })
}

fn call(route: &'static str, path: &str) -> Call {
    Call {
        place: Place { route, top: 7 },
        method: Method::GET,
        path: path.to_owned(),
        body: None,
        authorized: true,
        limited: true,
        repeatable: true,
    }
}

async fn ask(rest: &Rest, route: &'static str, path: &str) -> Result<(), RestError> {
    rest.call(&call(route, path), Instant::now() + LONG, &silently).await.map(drop)
}

fn too_many(scope: &str, retry_after: f64) -> Scripted {
    let global = scope == "global";
    let body = format!(r#"{{"message":"slow down","retry_after":{retry_after},"global":{global}}}"#);
    let headers =
        vec![("x-ratelimit-scope", scope.to_owned()), ("retry-after", retry_after.ceil().to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, body)
}

#[tokio::test]
async fn a_learned_bucket_is_never_exceeded() {
    let server = Server::default();
    let rest = server.start().await;
    let started = Instant::now();
    let many = (0..10).map(|_| ask(&rest, "GET /limited", "limited"));
    for outcome in futures_util::future::join_all(many).await {
        outcome.unwrap();
    }
    // 10 requests at 3 per window need three windows to be over.
    assert!(started.elapsed() >= WINDOW * 3, "{:?}", started.elapsed());
    assert_eq!(server.seen(|seen| (seen.requests, seen.exceeded)), (10, 0));
    assert!(server.seen(|seen| seen.authorized));
    // Discord's form: `DiscordBot ($url, $versionNumber)`.
    let agent = server.seen(|seen| seen.agent.clone());
    let (url, version) = agent.strip_prefix("DiscordBot (").unwrap().split_once(", ").unwrap();
    assert!(url.starts_with("https://") && version == concat!(env!("CARGO_PKG_VERSION"), ")"), "{agent}");
}

#[tokio::test]
async fn two_routes_with_one_bucket_share_it() {
    let server = Server::default();
    let rest = server.start().await;
    ask(&rest, "GET /one", "limited/one").await.unwrap();
    ask(&rest, "GET /two", "limited/two").await.unwrap();
    let many = (0..8).map(|n| ask(&rest, if n % 2 == 0 { "GET /one" } else { "GET /two" }, "limited"));
    for outcome in futures_util::future::join_all(many).await {
        outcome.unwrap();
    }
    assert_eq!(server.seen(|seen| seen.exceeded), 0);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_known_at_once() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.window = Some((Instant::now() + Duration::from_secs(60), 0)));
    for _ in 0..LIMIT {
        ask(&rest, "GET /limited", "limited").await.unwrap();
    }
    let started = Instant::now();
    let deadline = started + Duration::from_secs(30);
    let outcome = rest.call(&call("GET /limited", "limited"), deadline, &silently).await;
    assert!(matches!(outcome, Err(RestError::RateLimited { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_global_429_stops_everything_for_as_long_as_it_says() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.script.push(too_many("global", 0.7)));
    let started = Instant::now();
    ask(&rest, "GET /free/one", "free/one").await.unwrap();
    let first = started.elapsed();
    assert!((700..1500).contains(&first.as_millis()), "{first:?}");

    server.seen(|seen| seen.script.push(too_many("global", 0.7)));
    let started = Instant::now();
    let hit = ask(&rest, "GET /free/one", "free/one");
    let other = async {
        // The other route asks once the first was refused.
        testkit::eventually(LONG, || async {
            server.seen(|seen| if seen.script.is_empty() { Ok(()) } else { Err("not yet") })
        })
        .await;
        ask(&rest, "GET /free/two", "free/two").await
    };
    let (hit, other) = tokio::join!(hit, other);
    hit.unwrap();
    other.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert_eq!(rest.budget().spent(service::clock::unix_ms()), 2);
}

#[tokio::test]
async fn a_shared_429_is_waited_for_and_does_not_count_as_invalid() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.script.push(too_many("shared", 0.4)));
    let started = Instant::now();
    ask(&rest, "GET /free/one", "free/one").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(rest.budget().spent(service::clock::unix_ms()), 0);
}

#[tokio::test]
async fn a_429_storm_is_not_answered_with_a_storm() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.script.extend((0..50).map(|_| too_many("user", 0.25))));
    let deadline = Instant::now() + Duration::from_millis(1100);
    let outcome = rest.call(&call("GET /free/one", "free/one"), deadline, &silently).await;
    // The last request may be on its way when the time is over.
    assert!(
        matches!(outcome, Err(RestError::RateLimited { .. } | RestError::Unreachable { .. })),
        "{outcome:?}"
    );
    assert!((2..=5).contains(&server.seen(|seen| seen.requests)));
}

#[tokio::test]
async fn a_spent_budget_stops_all_requests() {
    let server = Server::default();
    let rest = server.start().await;
    let now = service::clock::unix_ms();
    rest.budget().restore(&[Slot { at_ms: now - 1000, count: 4999 }], now);
    server.seen(|seen| seen.always = Some(StatusCode::FORBIDDEN));
    let refused = ask(&rest, "GET /free/one", "free/one").await;
    assert!(matches!(refused, Err(RestError::Refused { status: 403, .. })), "{refused:?}");
    let stopped = ask(&rest, "GET /free/two", "free/two").await;
    assert!(matches!(stopped, Err(RestError::BudgetSpent { .. })), "{stopped:?}");
    assert_eq!(server.seen(|seen| seen.requests), 1);
    assert!(matches!(*rest.trouble().borrow(), Trouble::BudgetSpent { .. }));
}

#[tokio::test]
async fn the_end_of_a_spent_budget_is_noticed_without_a_request() {
    let server = Server::default();
    let rest = server.start().await;
    let now = service::clock::unix_ms();
    // Counts are kept for 10 minutes after the 10 s in which they were made.
    rest.budget().restore(&[Slot { at_ms: now - 610_000 + 500, count: 5000 }], now);
    let mut trouble = rest.trouble();
    let stopped = ask(&rest, "GET /free/one", "free/one").await;
    assert!(matches!(stopped, Err(RestError::BudgetSpent { .. })), "{stopped:?}");
    let mut seen = Vec::new();
    while seen.last() != Some(&Trouble::None) {
        seen.push(timeout(LONG, rest.trouble_changed(&mut trouble)).await.unwrap());
    }
    assert_eq!(server.seen(|seen| seen.requests), 0);
}

#[tokio::test]
async fn what_cannot_be_repeated_is_sent_once_unless_it_surely_was_not_taken() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.script.push((StatusCode::BAD_GATEWAY, Vec::new(), String::new())));
    let once = call("GET /free/one", "free/one").once();
    let outcome = rest.call(&once, Instant::now() + LONG, &silently).await;
    assert!(matches!(outcome, Err(RestError::Unreachable { .. })), "{outcome:?}");
    assert_eq!(server.seen(|seen| seen.requests), 1);
    server.seen(|seen| seen.script.push(too_many("user", 0.1)));
    rest.call(&once, Instant::now() + LONG, &silently).await.unwrap();
    assert_eq!(server.seen(|seen| seen.requests), 3);
}

#[tokio::test]
async fn a_guild_that_does_not_tell_its_roles_is_left_alone_for_a_while_and_learned_later() {
    let server = Server::default();
    let rest = Arc::new(server.start().await);
    let builder = Arc::new(twilight_http::Client::builder().ratelimiter(None).build());
    let facts = Facts::new(rest, builder);
    server.seen(|seen| seen.always = Some(StatusCode::FORBIDDEN));
    let (guild, olive) = (Snowflake(7), Snowflake(8));
    let many = (0..5).map(|_| facts.ask_rank(guild, olive, &[]));
    for rank in futures_util::future::join_all(many).await {
        assert_eq!(rank, Rank::Everyone);
    }
    assert_eq!(facts.ask_rank(guild, olive, &[]).await, Rank::Everyone);
    assert_eq!(server.seen(|seen| seen.requests), 1);
    facts.learn(&Guild { id: guild, owner_id: Some(olive), roles: Vec::new() });
    assert_eq!(facts.ask_rank(guild, olive, &[]).await, Rank::Owner);
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.always = Some(StatusCode::UNAUTHORIZED));
    for _ in 0..3 {
        assert_eq!(ask(&rest, "GET /free/one", "free/one").await, Err(RestError::TokenRefused));
    }
    assert_eq!(server.seen(|seen| seen.requests), 1);
    assert_eq!(*rest.trouble().borrow(), Trouble::TokenRefused);
}

#[tokio::test]
async fn the_token_of_an_interaction_may_be_refused_without_harm() {
    let server = Server::default();
    let rest = server.start().await;
    server.seen(|seen| seen.script.push((StatusCode::UNAUTHORIZED, Vec::new(), String::new())));
    let interaction = call("GET /free/one", "free/one").of_interaction();
    let outcome = rest.call(&interaction, Instant::now() + LONG, &silently).await;
    assert!(matches!(outcome, Err(RestError::Refused { status: 401, .. })), "{outcome:?}");
    ask(&rest, "GET /free/one", "free/one").await.unwrap();
}
