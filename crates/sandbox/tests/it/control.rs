//! The control API over real HTTP.

use std::time::Duration;

use sandbox::{Options, Sandbox, StartError, people::Person};
use serde_json::{Value, json};

use crate::bot::{Bot, http_client};

const WITHIN: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(WITHIN, looking).await.expect("it happens in time")
}

struct Api {
    http: reqwest::Client,
    base: String,
}

impl Api {
    fn of(sandbox: &Sandbox) -> Self {
        Self { http: http_client(), base: sandbox.http_url() }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send("POST", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.send(method, path, body).await;
        assert_eq!(status, 400, "{path}: {answer}");
        answer["error"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_line_tells_how_many_bots_hear_it() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let say = |platform: &str| json!({ "platform": platform, "person": "noor", "text": "ahoy" });
    let bot = Bot::connect(&sandbox.http_url()).await;
    assert_eq!(api.post("/sandbox/say", say("discord")).await["heard"], 1);
    assert_eq!(api.post("/sandbox/say", say("twitch")).await["heard"], 0);
    drop(bot);
    // Its session waits for it, so it hears what is said now when it resumes.
    assert_eq!(api.post("/sandbox/say", say("discord")).await["heard"], 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn people_talk_and_are_heard() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    for (platform, channel) in [("discord", "#general"), ("twitch", "vigie_demo")] {
        let say = json!({ "platform": platform, "person": "noor", "channel": channel, "text": "ahoy" });
        let said = api.post("/sandbox/say", say).await;
        let history = api.get(&format!("/sandbox/history?platform={platform}")).await;
        assert_eq!(history[0]["id"], said["id"]);
        assert_eq!(said["heard"], 0, "no bot is there");
        assert_eq!((&history[0]["text"], &history[0]["author"]["role"]), (&json!("ahoy"), &json!("viewer")));
    }
    let state = api.get("/sandbox/state").await;
    assert_eq!(state["channels"]["discord"][0]["label"], "Vigie Harbour");
    assert_eq!(state["channels"]["twitch"][0]["channels"][0]["name"], "vigie_demo");
    assert_eq!(state["people"][2], json!({ "id": "ines", "name": "Ines", "role": "viewer" }));
    sandbox.stop().await;
}

#[tokio::test]
async fn bad_input_gets_a_sentence() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let say = |change: Value| {
        let mut say = json!({ "platform": "discord", "person": "ines", "text": "x" });
        say.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        say
    };
    let cases = [
        ("/sandbox/say", say(json!({ "text": " " })), "expected a text; this one is empty"),
        ("/sandbox/say", say(json!({ "person": "zoe" })), "expected one of `olive`, `max`, `ines`, `noor`"),
        (
            "/sandbox/say",
            say(json!({ "channel": "nowhere" })),
            "no such channel; expected one of general, bots",
        ),
        ("/sandbox/say", json!({}), "missing field `platform`"),
        ("/sandbox/slash", json!({ "person": "ines" }), "expected either `text`"),
        (
            "/sandbox/slash",
            json!({ "person": "ines", "text": "/ping" }),
            "no slash command is registered yet",
        ),
        ("/sandbox/discord/close", json!({ "code": 7 }), "expected a close code"),
        ("/sandbox/twitch/riot", json!({}), "cannot do /sandbox/twitch/riot: unknown variant"),
        ("/sandbox/twitch/raid", json!({ "viewers": "many" }), "cannot do /sandbox/twitch/raid"),
        ("/sandbox/discord/typing", json!(["ines"]), "expected another JSON body"),
        (
            "/sandbox/load",
            json!({ "platform": "discord", "rate": -1, "seconds": 1 }),
            "expected rate above 0",
        ),
        ("/sandbox/replay", json!({ "rate": 1, "lines": ["PING"] }), "expected IRC lines"),
        (
            "/sandbox/ask",
            json!({ "platform": "twitch", "text": "x", "within_ms": 900_000 }),
            "within_ms of at most",
        ),
    ];
    for (path, body, expected) in cases {
        let sentence = api.refused("POST", path, body).await;
        assert!(sentence.contains(expected), "{path}: {sentence}");
    }
    let sentence = api.refused("PUT", "/sandbox/discord/faults", json!({ "mute": true })).await;
    assert!(sentence.contains("unknown field `mute`"), "{sentence}");
    let sentence = api.refused("PUT", "/sandbox/twitch/faults", json!({ "mute_pong": 3 })).await;
    assert!(sentence.contains("mute_pong") || sentence.contains("boolean"), "{sentence}");
    let (status, answer) = api.send("GET", "/sandbox/nothing", Value::Null).await;
    assert_eq!((status, answer["error"].is_string()), (404, true));
    sandbox.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")]
    {
        let request = api.http.post(format!("{}/sandbox/discord/drop", api.base)).header(name, value);
        assert_eq!(request.send().await.unwrap().status(), 403, "{name}");
    }
    let own = api.http.post(format!("{}/sandbox/discord/drop", api.base)).header("origin", &api.base);
    assert_eq!(own.send().await.unwrap().status(), 200);
    let page = api.http.get(&api.base).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    sandbox.stop().await;
}

#[tokio::test]
async fn faults_are_turned_one_by_one_and_mended_together() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    for (platform, knob) in [("discord", "mute_heartbeat_acks"), ("twitch", "mute_pong")] {
        let path = format!("/sandbox/{platform}/faults");
        let before = api.get(&path).await;
        let (status, _) = api.send("PUT", &path, json!({ "delay_ms": 7 })).await;
        assert_eq!(status, 200);
        let (_, after) = api.send("PUT", &path, json!({ knob: true })).await;
        assert_eq!((&after["delay_ms"], &after[knob]), (&json!(7), &json!(true)));
        api.post(&format!("/sandbox/{platform}/mend"), Value::Null).await;
        assert_eq!(api.get(&path).await, before);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_dropped_bot_is_counted_and_shown_offline() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let wait = api.get("/sandbox/counters/wait?name=discord.gateway.identify&at_least=1&within_ms=15000");
    let (counted, _bot) = tokio::join!(wait, Bot::connect(&api.base));
    assert_eq!(counted["value"], 1);
    assert_eq!(api.get("/sandbox/state").await["bots"][0]["online"], true);
    let metrics = api.http.get(format!("{}/metrics", api.base)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("sandbox_total{name=\"discord.gateway.identify\"} 1\n"), "{metrics}");
    let mut feed = sandbox.feed().watch();
    api.post("/sandbox/discord/drop", Value::Null).await;
    let offline = async {
        loop {
            if let sandbox::feed::Item::Bot { online: false, .. } = feed.recv().await.unwrap() {
                break;
            }
        }
    };
    tokio::time::timeout(WITHIN, offline).await.expect("the bot goes offline");
    assert_eq!(api.get("/sandbox/state").await["bots"][0]["online"], false);
    let (status, answer) = api
        .send("GET", "/sandbox/counters/wait?name=nothing.at.all&at_least=1&within_ms=20", Value::Null)
        .await;
    assert_eq!(status, 504);
    assert!(answer["error"].as_str().unwrap().contains("stayed at 0 of 1"), "{answer}");
    sandbox.stop().await;
}

#[tokio::test]
async fn asking_returns_the_answer_with_its_latency() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let ask = json!({ "platform": "discord", "text": "!ping", "within_ms": 50 });
    let (status, answer) = api.send("POST", "/sandbox/ask", ask).await;
    assert_eq!(status, 504);
    assert!(answer["error"].as_str().unwrap().contains("no bot is connected"), "{answer}");

    let mut bot = Bot::connect(&api.base).await;
    let line = json!({ "platform": "discord", "text": "!ping", "person": "max" });
    let (answer, ()) = tokio::join!(api.post("/sandbox/ask", line), async {
        let asked = bot.message().await;
        bot.reply(&asked, json!({ "content": "pong" })).await;
    });
    assert_eq!(answer["reply"]["text"], "pong");
    assert!(answer["latency_us"].as_u64().unwrap() > 0);

    bot.register(json!([{ "name": "ping", "type": 1, "description": "x" }])).await;
    let (answer, ()) =
        tokio::join!(api.post("/sandbox/ask", json!({ "platform": "discord", "text": "/ping" })), async {
            let asked = bot.event("INTERACTION_CREATE").await;
            bot.respond(&asked, json!({ "type": 4, "data": { "content": "pong again" } })).await;
        });
    assert_eq!(answer["reply"]["text"], "pong again");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_load_reports_what_was_answered_and_how_fast() {
    let mut options = Options::default();
    options.discord.requests_per_second = 10_000;
    options.discord.bucket_scale = 1000;
    options.discord.extra_guilds = 10;
    let sandbox = Sandbox::start(options).await.unwrap();
    let api = Api::of(&sandbox);
    let mut bot = Bot::connect(&api.base).await;
    let plan = json!({ "platform": "discord", "rate": 200, "seconds": 1, "command_share": 0.1 });
    api.post("/sandbox/load", plan.clone()).await;
    let (status, _) = api.send("POST", "/sandbox/load", plan.clone()).await;
    assert_eq!(status, 409);
    let mut crowd = plan;
    (crowd["name"], crowd["rate"], crowd["command_share"]) = ("crowd".into(), 10.into(), 0.into());
    api.post("/sandbox/load", crowd).await;
    let answering = async {
        let mut answered = 0;
        while answered < 20 {
            let message = bot.message().await;
            if message["content"] == "!ping" {
                bot.reply(&message, json!({ "content": "pong" })).await;
                answered += 1;
            }
        }
    };
    if tokio::time::timeout(WITHIN, answering).await.is_err() {
        panic!("twenty commands did not come: {}", api.get("/sandbox/load").await);
    }
    let report = until(async || {
        let report = api.get("/sandbox/load").await;
        (report["phase"] == "done").then_some(report)
    })
    .await;
    assert_eq!(
        (&report["sent"], &report["commands"], &report["refused"]),
        (&json!(200), &json!(20), &json!(0))
    );
    assert_eq!(report["answered"], 20, "{report}");
    assert!(report["p50_us"].as_u64().unwrap() <= report["p99_us"].as_u64().unwrap());
    let crowd = api.get("/sandbox/load?name=crowd").await;
    assert!(crowd["sent"].as_u64().unwrap() > 0, "{crowd}");
    assert_eq!((&crowd["commands"], &crowd["answered"]), (&json!(0), &json!(0)), "{crowd}");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_captured_chat_plays_on_both_platforms() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let line = |n: u32| {
        format!("@id=old;tmi-sent-ts=1 :kelpie!kelpie@kelpie.tmi.twitch.tv PRIVMSG #other :line {n}")
    };
    let lines: Vec<String> = (0..5).map(line).chain(["PING :x".to_owned()]).collect();
    let started = api.post("/sandbox/replay", json!({ "rate": 500, "lines": lines, "count": 12 })).await;
    assert_eq!((&started["total"], &started["skipped"]), (&json!(12), &json!(1)));
    for platform in ["discord", "twitch"] {
        sandbox.counters().wait(&format!("replay.{platform}.sent"), 12, WITHIN).await.unwrap();
    }
    let history = api.get("/sandbox/history?platform=twitch").await;
    assert_eq!(history.as_array().unwrap().len(), 12);
    assert_eq!((&history[11]["text"], &history[11]["author"]["name"]), (&json!("line 1"), &json!("kelpie")));
    assert_ne!(history[0]["id"], "old");

    // Without lines the built-in chat plays, until it is told to stop.
    let built_in = json!({ "rate": 1000, "count": 1_000_000, "platform": "twitch" });
    // The first one may just be ending.
    until(async || (api.send("POST", "/sandbox/replay", built_in.clone()).await.0 != 409).then_some(()))
        .await;
    sandbox.counters().wait("replay.twitch.sent", 60, WITHIN).await.unwrap();
    api.post("/sandbox/replay/stop", Value::Null).await;
    until(async || (api.get("/sandbox/replay").await["running"] != true).then_some(())).await;
    sandbox.stop().await;
}

#[tokio::test]
async fn the_feed_is_followed_over_http_and_ends_with_the_sandbox() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let api = Api::of(&sandbox);
    let mut answer = api.http.get(format!("{}/sandbox/feed", api.base)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let channel = sandbox.discord().channels()[0].id.clone();
    sandbox.discord().say(Person::Ines, &channel, "ahoy").unwrap();
    let first = tokio::time::timeout(WITHIN, answer.chunk()).await.unwrap().unwrap().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    let item: Value = serde_json::from_str(first.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&item["type"], &item["platform"]), (&json!("message"), &json!("discord")));
    assert_eq!(item["line"]["text"], "ahoy");
    assert_eq!(api.http.get(format!("{}/readyz", api.base)).send().await.unwrap().status(), 200);
    sandbox.stop().await;
    let rest = tokio::time::timeout(WITHIN, answer.chunk()).await.expect("the feed ends");
    assert_eq!(rest.unwrap(), None);
}

#[tokio::test]
async fn a_taken_port_says_what_to_do() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let taken = Options { irc: sandbox.irc_addr(), ..Options::default() };
    let Err(error) = Sandbox::start(taken).await else { panic!("two on one port") };
    let StartError::Bind { flag, .. } = &error;
    assert_eq!(*flag, "--irc");
    let sentence = error.to_string();
    assert!(sentence.contains("the port is in use") && sentence.contains("--port 0"), "{sentence}");
    sandbox.stop().await;
}
