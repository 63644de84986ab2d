//! Helix: users, streams, channels, sending, and its refusals.

use sandbox::{people::Person, twitch::Change};
use serde_json::{Value, json};

use super::client::{Http, Irc, say, start, start_with, tag, without_limits};

const TOKEN: &str = "sandbox-token";
const BOT: &str = "800100200";
const DEMO: &str = "700100100";
const QUIET: &str = "700100200";

fn message(broadcaster: &str, text: &str) -> Option<Value> {
    Some(json!({"broadcaster_id": broadcaster, "sender_id": BOT, "message": text}))
}

#[tokio::test]
async fn users_by_id_login_and_token() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let own = http.helix(TOKEN, "GET", "users", None).await;
    assert_eq!(own.status, 200);
    assert_eq!(own.body["data"][0]["login"], "vigie_bot");
    assert_eq!(own.headers["ratelimit-limit"], "800");
    assert!(own.headers.contains_key("ratelimit-remaining") && own.headers.contains_key("ratelimit-reset"));
    let some = http.helix(TOKEN, "GET", &format!("users?id={DEMO}&login=max&login=nobody"), None).await;
    let logins: Vec<&Value> =
        some.body["data"].as_array().unwrap().iter().map(|user| &user["login"]).collect();
    assert_eq!(logins, ["vigie_demo", "max"]);
    let app = http.app_token().await;
    let none = http.helix(&app, "GET", "users", None).await;
    assert_eq!(
        none.body,
        json!({"error": "Bad Request", "status": 400, "message": "Must provide an ID, Login or OAuth Token."})
    );
}

#[tokio::test]
async fn streams_and_channels() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let path = "streams?user_login=vigie_demo";
    assert_eq!(http.helix(TOKEN, "GET", path, None).await.body["data"], json!([]));
    sandbox.twitch().go_live("vigie_demo", true).unwrap();
    let live = http.helix(TOKEN, "GET", path, None).await;
    assert_eq!(live.body["data"][0]["user_id"], DEMO);
    assert_eq!(live.body["data"][0]["type"], "live");
    sandbox.twitch().go_live("vigie_demo", false).unwrap();
    assert_eq!(http.helix(TOKEN, "GET", path, None).await.body["data"], json!([]));
    let channel = http.helix(TOKEN, "GET", &format!("channels?broadcaster_id={QUIET}"), None).await;
    assert_eq!(channel.body["data"][0]["broadcaster_login"], "quiet_corner");
    assert_eq!(http.helix(TOKEN, "GET", "channels", None).await.status, 400);
}

#[tokio::test]
async fn who_may_not_ask() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let unknown = http.helix("wrong", "GET", "users", None).await;
    assert_eq!(
        unknown.body,
        json!({"error": "Unauthorized", "status": 401, "message": "Invalid OAuth token"})
    );
    let bare = http.get("/helix/users", &[]).await;
    assert_eq!((bare.status, &bare.body["message"]), (401, &json!("OAuth token is missing")));
    let other = [("authorization", "Bearer sandbox-token"), ("client-id", "other")];
    let other = http.get("/helix/users", &other).await;
    assert_eq!(other.body["message"], "Client ID and OAuth token do not match");
    let nowhere = http.helix(TOKEN, "GET", "nowhere", None).await;
    assert_eq!(nowhere.body, json!({"error": "Not Found", "status": 404, "message": ""}));
}

#[tokio::test]
async fn a_message_sent_by_helix_reaches_chat() {
    let sandbox = start_with(without_limits()).await;
    let http = Http::new(&sandbox);
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    let parent = say(&sandbox, "vigie_demo", "!ping");
    let body = json!({
        "broadcaster_id": DEMO, "sender_id": BOT, "message": "pong", "reply_parent_message_id": parent,
    });
    let sent = http.helix(TOKEN, "POST", "chat/messages", Some(body)).await;
    assert_eq!(sent.status, 200);
    assert_eq!(sent.body["data"][0]["is_sent"], true);
    assert_eq!(sent.body["data"][0]["drop_reason"], Value::Null);
    assert_ne!(sent.headers["ratelimit-limit"], "800", "the endpoint has a bucket of its own");
    // Unlike over IRC, the account's own connections hear it.
    let line = irc.expect("PRIVMSG #vigie_demo :@Ines pong").await;
    assert_eq!(tag(&line, "id").as_deref(), sent.body["data"][0]["message_id"].as_str());
    assert_eq!(tag(&line, "badges").as_deref(), Some("moderator/1"));
    let reply = &sandbox.twitch().history("vigie_demo")[1];
    assert!(reply.latency_us.is_some());

    let path = format!("chat/messages?broadcaster_id={DEMO}&sender_id={BOT}");
    let ids_in_query = http.helix(TOKEN, "POST", &path, Some(json!({"message": "as twurple does"}))).await;
    assert_eq!(ids_in_query.status, 200);
    irc.expect("as twurple does").await;

    let app = http.app_token().await;
    let body = json!({
        "broadcaster_id": DEMO, "sender_id": BOT, "message": "as an app", "for_source_only": true,
    });
    assert_eq!(http.helix(&app, "POST", "chat/messages", Some(body)).await.status, 200);
    let line = irc.expect("as an app").await;
    assert_eq!(tag(&line, "badges").as_deref(), Some("moderator/1,bot-badge/1"));
}

#[tokio::test]
async fn what_is_dropped_says_why() {
    let mut options = without_limits();
    options.limits.duplicate = std::time::Duration::from_secs(30);
    let sandbox = start_with(options).await;
    let http = Http::new(&sandbox);
    let send = async |text: &str| {
        let answer = http.helix(TOKEN, "POST", "chat/messages", message(QUIET, text)).await;
        assert_eq!(answer.status, 200);
        answer.body["data"][0].clone()
    };
    assert_eq!(send("same").await["is_sent"], true);
    let dropped = send("same").await;
    assert_eq!((&dropped["is_sent"], &dropped["message_id"]), (&json!(false), &json!("")));
    assert_eq!(dropped["drop_reason"]["code"], "msg_duplicate");
    sandbox.twitch().timeout("quiet_corner", "vigie_bot", 60).unwrap();
    assert_eq!(
        send("other").await["drop_reason"],
        json!({"code": "user_timed_out", "message": "You are timed out from talking in the room."})
    );
    sandbox.twitch().unban("quiet_corner", "vigie_bot").unwrap();
    let change = Change { drop_reason: Some("automod_held".into()), ..Default::default() };
    sandbox.twitch().faults().set(change);
    assert_eq!(send("held").await["drop_reason"]["code"], "automod_held");
    assert_eq!(send("sent").await["is_sent"], true);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let post = async |token: &str, body: Value| {
        let answer = http.helix(token, "POST", "chat/messages", Some(body)).await;
        (answer.status, answer.body["error"].as_str().unwrap_or_default().to_owned())
    };
    let is = |status: u16, error: &str| (status, error.to_owned());
    let long = json!({"broadcaster_id": DEMO, "sender_id": BOT, "message": "x".repeat(501)});
    assert_eq!(post(TOKEN, long).await, is(422, "Unprocessable Entity"));
    let nobody = json!({"broadcaster_id": "1", "sender_id": BOT, "message": "x"});
    assert_eq!(post(TOKEN, nobody).await, is(400, "Bad Request"));
    assert_eq!(post(TOKEN, json!({"message": "x"})).await, is(400, "Bad Request"));
    let somebody_else = json!({"broadcaster_id": DEMO, "sender_id": "600100300", "message": "x"});
    assert_eq!(post(TOKEN, somebody_else).await, is(401, "Unauthorized"));
    let source = json!({"broadcaster_id": DEMO, "sender_id": BOT, "message": "x", "for_source_only": true});
    assert_eq!(post(TOKEN, source).await, is(400, "Bad Request"));
    let app = http.app_token().await;
    let not_let_in = json!({"broadcaster_id": QUIET, "sender_id": BOT, "message": "x"});
    assert_eq!(post(&app, not_let_in).await, is(403, "Forbidden"));
    assert!(sandbox.twitch().history("vigie_demo").is_empty());
}

#[tokio::test]
async fn helix_can_fail_and_run_dry() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    sandbox.twitch().faults().fail_helix(500, 2);
    assert_eq!(http.helix(TOKEN, "GET", "users", None).await.status, 500);
    assert_eq!(http.helix(TOKEN, "GET", "users", None).await.status, 500);
    assert_eq!(http.helix(TOKEN, "GET", "users", None).await.status, 200);
    sandbox.twitch().exhaust_helix();
    let dry = http.helix(TOKEN, "GET", "users", None).await;
    assert_eq!((dry.status, &dry.body["error"]), (429, &json!("Too Many Requests")));
    assert_eq!(dry.headers["ratelimit-remaining"], "0");
    assert_eq!(sandbox.counters().get("twitch.helix.GET /users"), 4);
    assert_eq!(sandbox.counters().get("twitch.helix.status.429"), 1);
}

#[tokio::test]
async fn a_person_hears_why_it_cannot_talk() {
    let sandbox = start().await;
    let twitch = sandbox.twitch();
    let long = "x".repeat(501);
    let error = twitch.say(Person::Ines, "vigie_demo", &long).unwrap_err().to_string();
    assert_eq!(error, "a twitch message has at most 500 characters, this one has 501");
    assert!(twitch.say(Person::Ines, "vigie_demo", "  ").is_err());
    assert!(twitch.say(Person::Ines, "nowhere", "x").unwrap_err().to_string().contains("nowhere"));
}

#[tokio::test]
async fn what_fails_may_be_done_all_the_same() {
    let sandbox = start().await;
    let http = Http::new(&sandbox);
    let said = || sandbox.twitch().history("vigie_demo").into_iter().map(|line| line.text);
    sandbox.twitch().faults().fail_helix(500, 2);
    assert_eq!(http.helix(TOKEN, "POST", "chat/messages", message(DEMO, "not done")).await.status, 500);
    sandbox.twitch().faults().set(Change { helix_done: Some(true), ..Change::default() });
    assert_eq!(http.helix(TOKEN, "POST", "chat/messages", message(DEMO, "done")).await.status, 500);
    assert_eq!(said().collect::<Vec<_>>(), ["done"]);
    assert_eq!(sandbox.counters().get("twitch.helix.status.500"), 2);
}
