//! Which events a session hears of, and whether it may read what was written.

use reqwest::Method;
use sandbox::{discord::ids, people::Person};
use serde_json::json;

use super::bot::{Harbour, INTENTS};

const GUILDS: u64 = 1;
const GUILD_MESSAGES: u64 = 1 << 9;
const DIRECT_MESSAGES: u64 = 1 << 12;
const MESSAGE_CONTENT: u64 = 1 << 15;

#[tokio::test]
async fn sessions_hear_only_of_what_they_asked_for() {
    let harbour = Harbour::open().await;
    let mut deaf = harbour.identified(GUILDS).await;
    let mut keen = harbour.identified(INTENTS).await;
    let id = harbour.say("hello");
    harbour.discord.react(Person::Max, &ids::GENERAL.to_string(), &id, "👍").unwrap();
    keen.dispatch("MESSAGE_CREATE").await;
    let reaction = keen.dispatch("MESSAGE_REACTION_ADD").await;
    assert_eq!(reaction["message_id"], id);
    assert_eq!(reaction["emoji"], json!({ "id": null, "name": "👍" }));
    // An event without an intent is the next one that it hears.
    harbour.discord.dispatch_raw("FOR_ALL", &json!({ "guild_id": ids::GUILD.to_string() }));
    deaf.dispatch("FOR_ALL").await;
}

#[tokio::test]
async fn content_is_privileged_except_in_mentions_own_and_direct_messages() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(GUILDS | GUILD_MESSAGES | DIRECT_MESSAGES).await;
    harbour.say("secret");
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["content"], "");
    let mention = format!("hello <@{}>", ids::APPLICATION);
    harbour.say(&mention);
    let heard = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!(heard["content"], mention);
    assert_eq!(heard["mentions"][0]["id"], ids::APPLICATION.to_string());
    assert!(heard["mentions"][0]["member"].is_object());
    let direct = harbour.discord.direct_messages(Person::Noor);
    harbour.discord.say(Person::Noor, &direct, "between us").unwrap();
    let heard = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!(heard["content"], "between us");
    assert!(heard.get("guild_id").is_none() && heard.get("member").is_none());
    let sent = harbour.send(json!({ "content": "mine" })).await;
    let heard = bot.dispatch("MESSAGE_CREATE").await;
    assert_eq!((&heard["content"], &heard["id"]), (&json!("mine"), &sent.body["id"]));

    let mut reader = harbour.identified(GUILDS | GUILD_MESSAGES | MESSAGE_CONTENT).await;
    harbour.say("for those who may");
    assert_eq!(reader.dispatch("MESSAGE_CREATE").await["content"], "for those who may");
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["content"], "");
}

#[tokio::test]
async fn direct_messages_can_be_opened_and_written_to_by_the_bot() {
    let harbour = Harbour::open().await;
    let noor = ids::of_person(Person::Noor).to_string();
    let opened = harbour.post("/users/@me/channels", json!({ "recipient_id": noor })).await;
    assert_eq!(opened.body["type"], 1);
    assert_eq!(opened.body["recipients"][0]["id"], noor);
    let channel = opened.body["id"].as_str().unwrap();
    assert_eq!(channel, harbour.discord.direct_messages(Person::Noor));
    let sent = harbour.post(&format!("/channels/{channel}/messages"), json!({ "content": "psst" })).await;
    assert_eq!(sent.status, 200);
    assert_eq!(harbour.discord.history(channel)[0].text, "psst");
    let wrong = harbour.post("/users/@me/channels", json!({})).await;
    assert_eq!(wrong.problem("recipient_id"), "BASE_TYPE_REQUIRED");
}

#[tokio::test]
async fn typing_reaches_those_who_want_it() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let path = format!("/channels/{}/typing", ids::GENERAL);
    let typing = harbour.ask(Method::POST, &path, Some("sandbox-token"), None).await;
    assert_eq!(typing.status, 204);
    assert_eq!(bot.dispatch("TYPING_START").await["user_id"], ids::APPLICATION.to_string());
    harbour.discord.type_in(Person::Ines, &ids::GENERAL.to_string()).unwrap();
    assert_eq!(bot.dispatch("TYPING_START").await["member"]["user"]["username"], "ines");
}

#[tokio::test]
async fn nothing_is_heard_of_channels_that_the_bot_cannot_see() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let staff = ids::STAFF.to_string();
    let hidden = harbour.discord.say(Person::Max, &staff, "among us").unwrap();
    harbour.discord.react(Person::Max, &staff, &hidden, "👍").unwrap();
    harbour.discord.delete(Person::Max, &staff, &hidden).unwrap();
    harbour.discord.type_in(Person::Max, &staff).unwrap();
    let open = harbour.say("for all");
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["id"], open);
}
