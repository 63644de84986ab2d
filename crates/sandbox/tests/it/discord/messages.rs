//! Messages by REST: sending, answering, editing, deleting, and what Discord refuses.

use reqwest::Method;
use sandbox::{discord::ids, feed::Item, people::Person};
use serde_json::{Value, json};

use super::bot::{Harbour, INTENTS, next_line};

fn in_general(rest: &str) -> String {
    format!("/channels/{}/messages{rest}", ids::GENERAL)
}

#[tokio::test]
async fn an_answer_refers_to_its_line_and_the_person_sees_its_latency() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let mut shown = harbour.feed.watch();
    let asked = harbour.say("!ping");
    let heard = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!(heard["id"], asked);
    assert_eq!(heard["content"], "!ping");
    assert_eq!(heard["author"]["global_name"], "Ines");
    assert_eq!(heard["guild_id"], ids::GUILD.to_string());
    assert!(heard["member"]["joined_at"].is_string());
    next_line(&mut shown).await;

    let reference = json!({ "message_id": asked });
    let sent = harbour.send(json!({ "content": "pong", "message_reference": reference })).await;
    assert_eq!(sent.status, 200);
    assert_eq!(sent.body["type"], 19);
    assert_eq!(sent.body["referenced_message"]["id"], asked);
    assert_eq!(sent.body["message_reference"]["message_id"], asked);
    assert_eq!(sent.body["mentions"][0]["username"], "ines", "who is answered is mentioned");
    let heard = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!(heard["author"]["bot"], true);
    let line = next_line(&mut shown).await;
    assert_eq!((line.text.as_str(), line.reply_to), ("pong", Some(asked)));
    assert_eq!(line.author.role, "bot");
    assert!(line.latency_us.is_some_and(|us| us < 5_000_000));
    assert_eq!(harbour.counters.get("discord.message.bot"), 1);
}

#[tokio::test]
async fn a_nonce_that_is_enforced_is_sent_once() {
    let harbour = Harbour::open().await;
    let body = json!({ "content": "once", "nonce": "event-1:0", "enforce_nonce": true });
    let first = harbour.send(body.clone()).await;
    assert_eq!(first.body["nonce"], "event-1:0");
    let second = harbour.send(body).await;
    assert_eq!(second.status, 200);
    assert_eq!(first.body["id"], second.body["id"]);
    assert_eq!(harbour.discord.history(&ids::GENERAL.to_string()).len(), 1);
    let without = json!({ "content": "once", "nonce": "event-1:0" });
    assert_ne!(harbour.send(without).await.body["id"], first.body["id"], "not enforced, sent again");
    let long = harbour.send(json!({ "content": "x", "nonce": "n".repeat(26) })).await;
    assert_eq!(long.problem("nonce"), "BASE_TYPE_MAX_LENGTH");
}

#[tokio::test]
async fn messages_are_edited_and_deleted() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let mut shown = harbour.feed.watch();
    let sent = harbour.send(json!({ "content": "one" })).await;
    let id = sent.body["id"].as_str().unwrap();
    bot.dispatch("MESSAGE_CREATE").await;
    let edited = harbour.patch(&in_general(&format!("/{id}")), json!({ "content": "two" })).await;
    assert_eq!(edited.body["content"], "two");
    assert!(edited.body["edited_timestamp"].is_string());
    assert_eq!(bot.dispatch("MESSAGE_UPDATE").await["content"], "two");
    assert_eq!(harbour.get(&in_general(&format!("/{id}"))).await.body["content"], "two");
    let empty = harbour.patch(&in_general(&format!("/{id}")), json!({ "content": "" })).await;
    assert_eq!(empty.refusal(), (400, 50006));
    assert_eq!(harbour.delete(&in_general(&format!("/{id}"))).await.status, 204);
    assert_eq!(bot.dispatch("MESSAGE_DELETE").await["id"], id);
    assert_eq!(harbour.delete(&in_general(&format!("/{id}"))).await.refusal(), (404, 10008));
    assert!(matches!(shown.recv().await, Ok(Item::Message { .. })));
    assert!(matches!(shown.recv().await, Ok(Item::Edited { .. })));
    assert!(matches!(shown.recv().await, Ok(Item::Deleted { .. })));
}

#[tokio::test]
async fn people_edit_and_delete_their_own_lines() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let (general, id) = (ids::GENERAL.to_string(), harbour.say("helo"));
    bot.dispatch("MESSAGE_CREATE").await;
    assert!(harbour.discord.edit(Person::Noor, &general, &id, "mine now").is_err());
    harbour.discord.edit(Person::Ines, &general, &id, "hello").unwrap();
    assert_eq!(bot.dispatch("MESSAGE_UPDATE").await["content"], "hello");
    let reply = harbour.discord.reply(Person::Max, &general, &id, "hi").unwrap();
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["referenced_message"]["id"], id);
    harbour.discord.delete(Person::Ines, &general, &id).unwrap();
    bot.dispatch("MESSAGE_DELETE").await;
    let read = harbour.get(&in_general(&format!("/{reply}"))).await.body;
    assert_eq!(read["referenced_message"], Value::Null, "what it answers is gone");
    assert!(harbour.discord.say(Person::Ines, "1", "nowhere").is_err());
    assert!(harbour.discord.say(Person::Ines, &general, &"x".repeat(2001)).is_err());
    let announcements = ids::ANNOUNCEMENTS.to_string();
    assert!(harbour.discord.say(Person::Ines, &announcements, "may I?").is_err());
    assert!(harbour.discord.say(Person::Olive, &announcements, "I may").is_ok());
}

#[tokio::test]
async fn what_may_not_be_done_is_refused_with_discords_codes() {
    let harbour = Harbour::open().await;
    let theirs = harbour.say("mine");
    let hello = || json!({ "content": "hello" });
    let to = |channel: u64| format!("/channels/{channel}/messages");
    assert_eq!(harbour.post(&to(1), hello()).await.refusal(), (404, 10003));
    assert_eq!(harbour.post(&to(ids::STAFF), hello()).await.refusal(), (403, 50001));
    assert_eq!(harbour.post(&to(ids::ANNOUNCEMENTS), hello()).await.refusal(), (403, 50013));
    let edit = harbour.patch(&in_general(&format!("/{theirs}")), hello()).await;
    assert_eq!(edit.refusal(), (403, 50005));
    assert_eq!(harbour.get(&in_general("/1")).await.refusal(), (404, 10008));
    assert_eq!(harbour.get("/channels/x").await.problem("channel_id"), "NUMBER_TYPE_COERCE");
    assert_eq!(harbour.get("/nowhere").await.refusal(), (404, 0));
    let wrong = harbour.ask(Method::PUT, "/users/@me", Some("sandbox-token"), None).await;
    assert_eq!(wrong.refusal(), (405, 0));
    for token in [None, Some("wrong")] {
        let refused = harbour.ask(Method::GET, "/users/@me", token, None).await;
        assert_eq!(refused.body, json!({ "message": "401: Unauthorized", "code": 0 }));
        assert_eq!(refused.status, 401);
    }
    assert_eq!(harbour.delete(&in_general(&format!("/{theirs}"))).await.status, 204, "moderation");
}

#[tokio::test]
async fn a_bad_message_is_refused_field_by_field() {
    let harbour = Harbour::with(sandbox::discord::Options { bucket_scale: 100, ..Default::default() }).await;
    let problem = async |body: Value, path: &str, code: &str| {
        let reply = harbour.send(body).await;
        assert_eq!(reply.problem(path), code, "{}", reply.body);
    };
    assert_eq!(harbour.send(json!({})).await.refusal(), (400, 50006));
    assert_eq!(harbour.send(json!({ "content": "  " })).await.refusal(), (400, 50006));
    let long = "é".repeat(2001);
    problem(json!({ "content": long }), "content", "BASE_TYPE_MAX_LENGTH").await;
    assert_eq!(harbour.send(json!({ "content": "é".repeat(2000) })).await.status, 200);
    let gone = json!({ "content": "x", "message_reference": { "message_id": "1" } });
    problem(gone, "message_reference", "REPLIES_UNKNOWN_MESSAGE").await;
    let perhaps = json!({ "message_id": "1", "fail_if_not_exists": false });
    assert_eq!(harbour.send(json!({ "content": "x", "message_reference": perhaps })).await.body["type"], 0);

    let embeds = |embeds: Value| json!({ "embeds": embeds });
    problem(embeds(vec![json!({ "title": "x" }); 11].into()), "embeds", "BASE_TYPE_MAX_LENGTH").await;
    problem(embeds(json!([{ "title": "x".repeat(257) }])), "embeds.0.title", "BASE_TYPE_MAX_LENGTH").await;
    problem(
        embeds(json!([{ "fields": [{ "name": "n" }] }])),
        "embeds.0.fields.0.value",
        "BASE_TYPE_REQUIRED",
    )
    .await;
    problem(embeds(json!([{ "url": "nope" }])), "embeds.0.url", "URL_TYPE_INVALID_URL").await;
    problem(embeds(json!([{ "color": 0x0100_0000 }])), "embeds.0.color", "NUMBER_TYPE_MAX").await;
    problem(embeds(json!([{ "timestamp": "now" }])), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE").await;
    let big = json!({ "description": "x".repeat(3001) });
    problem(embeds(json!([big, big])), "embeds", "MAX_EMBED_SIZE_EXCEEDED").await;

    let row = |components: Value| json!({ "components": [{ "type": 1, "components": components }] });
    let button = json!({ "type": 2, "style": 1, "label": "Go", "custom_id": "go" });
    problem(row(json!([])), "components.0.components", "BASE_TYPE_BAD_LENGTH").await;
    let at = "components.0.components.1.custom_id";
    problem(row(json!([button, button])), at, "COMPONENT_CUSTOM_ID_DUPLICATED").await;
    problem(json!({ "components": [button] }), "components.0.type", "BASE_TYPE_CHOICES").await;
    let bare = json!({ "type": 2, "style": 1, "label": "Go" });
    problem(row(json!([bare])), "components.0.components.0.custom_id", "BASE_TYPE_REQUIRED").await;

    let both = json!({ "parse": ["users"], "users": ["1"] });
    let body = json!({ "content": "x", "allowed_mentions": both });
    problem(body, "allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE").await;
    let broken = harbour.ask(Method::POST, &in_general(""), Some("sandbox-token"), None).await;
    assert_eq!(broken.refusal(), (400, 50006), "no body is an empty form");
}

#[tokio::test]
async fn embeds_and_buttons_come_back_in_discords_shape() {
    let harbour = Harbour::open().await;
    let button = json!({ "type": 2, "style": 1, "label": "Go", "custom_id": "go" });
    let body = json!({
        "embeds": [{ "title": "T", "timestamp": "2026-01-02T03:04:05Z", "fields": [{ "name": "n", "value": "v" }], "footer": { "text": "f" } }],
        "components": [{ "type": 1, "components": [button] }],
    });
    let sent = harbour.send(body).await.body;
    let embed = json!({ "type": "rich", "title": "T", "footer": { "text": "f" },
        "timestamp": "2026-01-02T03:04:05.000000+00:00",
        "fields": [{ "name": "n", "value": "v", "inline": false }] });
    assert_eq!(sent["embeds"][0], embed);
    assert_eq!(sent["components"][0]["id"], 1);
    assert_eq!(sent["components"][0]["components"][0]["id"], 2);
    assert_eq!(sent["components"][0]["components"][0]["custom_id"], "go");
    let v2 = json!({ "flags": 1 << 15, "components": [
        { "type": 17, "components": [{ "type": 10, "content": "hello" }, { "type": 14 }] }] });
    let sent = harbour.send(v2).await.body;
    assert_eq!(sent["flags"], 1 << 15);
    assert_eq!(sent["components"][0]["accent_color"], Value::Null);
    assert_eq!(sent["components"][0]["components"][1]["divider"], true);
}

#[tokio::test]
async fn mentions_follow_allowed_mentions_and_permissions() {
    let harbour = Harbour::open().await;
    let ines = ids::of_person(Person::Ines);
    let text = format!("@everyone <@{ines}>");
    let open = harbour.send(json!({ "content": text })).await.body;
    assert_eq!(open["mention_everyone"], false, "the bot lacks that permission");
    assert_eq!(open["mentions"][0]["id"], ines.to_string());
    let closed = harbour.send(json!({ "content": text, "allowed_mentions": { "parse": [] } })).await.body;
    assert_eq!(closed["mentions"], json!([]));
    let asked = harbour.say("?");
    let silent = json!({ "content": "!", "message_reference": { "message_id": asked },
        "allowed_mentions": { "parse": [], "replied_user": false } });
    assert_eq!(harbour.send(silent).await.body["mentions"], json!([]));
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.say(Person::Max, &ids::GENERAL.to_string(), "@here look").unwrap();
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["mention_everyone"], true);
}

#[tokio::test]
async fn history_is_listed_newest_first_and_in_pages() {
    let harbour = Harbour::open().await;
    let ids: Vec<String> = (0..5).map(|n| harbour.say(&n.to_string())).collect();
    let texts = async |query: &str| -> Vec<String> {
        let reply = harbour.get(&in_general(query)).await;
        let list = reply.body.as_array().unwrap().clone();
        list.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("").await, ["4", "3", "2", "1", "0"]);
    assert_eq!(texts("?limit=2").await, ["4", "3"]);
    assert_eq!(texts(&format!("?limit=2&before={}", ids[3])).await, ["2", "1"]);
    assert_eq!(texts(&format!("?limit=2&after={}", ids[0])).await, ["2", "1"]);
    let body = json!({ "messages": [ids[0], ids[1], "5"] });
    assert_eq!(harbour.post(&in_general("/bulk-delete"), body).await.status, 204);
    assert_eq!(texts("").await, ["4", "3", "2"]);
}

#[tokio::test]
async fn reactions_come_and_go() {
    let harbour = Harbour::with(sandbox::discord::Options { bucket_scale: 100, ..Default::default() }).await;
    let mut bot = harbour.identified(INTENTS).await;
    let id = harbour.say("nice");
    bot.dispatch("MESSAGE_CREATE").await;
    let path = in_general(&format!("/{id}/reactions/%F0%9F%91%8D"));
    assert_eq!(harbour.put(&format!("{path}/@me"), json!({})).await.status, 204);
    assert_eq!(bot.dispatch("MESSAGE_REACTION_ADD").await["user_id"], ids::APPLICATION.to_string());
    let read = harbour.get(&in_general(&format!("/{id}"))).await.body;
    assert_eq!(read["reactions"][0]["emoji"]["name"], "👍");
    assert_eq!((&read["reactions"][0]["count"], &read["reactions"][0]["me"]), (&json!(1), &json!(true)));
    assert_eq!(harbour.get(&path).await.body[0]["id"], ids::APPLICATION.to_string());
    assert_eq!(harbour.delete(&format!("{path}/@me")).await.status, 204);
    bot.dispatch("MESSAGE_REACTION_REMOVE").await;
    let wrong = in_general(&format!("/{id}/reactions/nope:1/@me"));
    assert_eq!(harbour.put(&wrong, json!({})).await.refusal(), (400, 10014));
}
