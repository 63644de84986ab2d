//! Rate limits: buckets, the global limit, and the answers that fault knobs order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::discord::{Options, RestFault, ids};
use serde_json::json;

use super::bot::{Harbour, INTENTS};

#[tokio::test]
async fn a_bucket_counts_down_in_its_headers_and_then_says_429() {
    let harbour = Harbour::open().await;
    for left in (0..5).rev() {
        let sent = harbour.send(json!({ "content": "x" })).await;
        assert_eq!(sent.status, 200);
        assert_eq!(sent.header("x-ratelimit-limit"), "5");
        assert_eq!(sent.header("x-ratelimit-remaining"), left.to_string());
        assert_eq!(sent.header("x-ratelimit-bucket").len(), 32);
        assert_eq!(sent.header("x-ratelimit-scope"), "", "only a 429 has a scope");
        let reset_after: f64 = sent.header("x-ratelimit-reset-after").parse().unwrap();
        let reset: f64 = sent.header("x-ratelimit-reset").parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(reset_after <= 5.0 && (reset - now - reset_after).abs() < 1.0);
    }
    let refused = harbour.send(json!({ "content": "x" })).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body["message"], "You are being rate limited.");
    assert_eq!(refused.body["global"], false);
    let retry_after = refused.body["retry_after"].as_f64().unwrap();
    assert!(retry_after > 3.0 && retry_after <= 5.0);
    assert_eq!(refused.header("x-ratelimit-scope"), "user");
    assert_eq!(refused.header("via"), "1.1 google");
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(refused.header("retry-after"), retry_after.ceil().to_string());
    let elsewhere = format!("/channels/{}/messages", ids::BOTS);
    assert_eq!(harbour.post(&elsewhere, json!({ "content": "x" })).await.status, 200);
    assert_eq!(harbour.counters.get("discord.rest.429"), 1);
}

#[tokio::test]
async fn the_global_limit_spares_interactions() {
    let harbour = Harbour::with(Options { requests_per_second: 2, ..Options::default() }).await;
    let mut refused = None;
    for _ in 0..50 {
        let reply = harbour.get("/users/@me").await;
        if reply.status == 429 && reply.body["global"] == true {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("more than two requests fit into a second");
    assert_eq!(refused.header("x-ratelimit-global"), "true");
    assert_eq!(refused.header("x-ratelimit-scope"), "global");
    assert_eq!(refused.header("x-ratelimit-bucket"), "");
    let callback = harbour.post("/interactions/1/x/callback", json!({ "type": 4 })).await;
    assert_eq!(callback.refusal(), (404, 10062), "not limited, only unknown");
}

#[tokio::test]
async fn faults_answer_in_the_place_of_routes() {
    let harbour = Harbour::open().await;
    let fault = |status, route: &str| RestFault {
        status,
        count: 1,
        retry_after_ms: 1500,
        global: false,
        route: route.to_owned(),
    };
    harbour.discord.faults().update(|knobs| knobs.rest_status = Some(fault(429, "POST /channels")));
    assert_eq!(harbour.get("/users/@me").await.status, 200, "another route");
    let refused = harbour.send(json!({ "content": "x" })).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body["retry_after"], 1.5);
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(harbour.send(json!({ "content": "x" })).await.status, 200, "only once");
    harbour.discord.faults().update(|knobs| knobs.rest_status = Some(fault(502, "")));
    assert_eq!(harbour.send(json!({ "content": "x" })).await.refusal(), (502, 0));
    assert_eq!(harbour.counters.get("discord.message.bot"), 1);
    assert_eq!(harbour.counters.get("discord.rest.POST /channels/{channel_id}/messages"), 3);
}

#[tokio::test]
async fn slowness_and_a_wrong_clock_can_be_ordered() {
    let harbour = Harbour::open().await;
    let knobs = json!({ "rest_slow_ms": 50, "delay_ms": 50, "clock_skew_ms": 3_600_000 });
    harbour.discord.faults().merge(&knobs).unwrap();
    let begin = std::time::Instant::now();
    let reply = harbour.get("/users/@me").await;
    assert!(begin.elapsed() >= Duration::from_millis(100));
    let reset: f64 = reply.header("x-ratelimit-reset").parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((3590.0..3620.0).contains(&(reset - now)));
    assert!(reply.header("date").ends_with("GMT"));
    let mut bot = harbour.identified(INTENTS).await;
    let begin = std::time::Instant::now();
    harbour.say("late");
    bot.dispatch("MESSAGE_CREATE").await;
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(harbour.discord.faults().merge(&json!({ "no_such_knob": 1 })).is_err());
}

#[tokio::test]
async fn too_many_invalid_requests_ban_the_address() {
    let harbour = Harbour::with(Options { invalid_requests: 3, ..Options::default() }).await;
    for _ in 0..3 {
        let refused = harbour.ask(reqwest::Method::GET, "/users/@me", Some("wrong"), None).await;
        assert_eq!(refused.refusal(), (401, 0));
    }
    let banned = harbour.get("/users/@me").await;
    assert_eq!((banned.status.as_u16(), &banned.body), (429, &json!("error code: 1015")));
    assert_eq!((banned.header("via"), banned.header("x-ratelimit-scope")), ("", ""));
    assert!(banned.header("retry-after").parse::<u64>().unwrap() > 500);
}
