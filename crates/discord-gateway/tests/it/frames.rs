//! Frames as Discord sends them, with more fields than are used, and frames that nobody should send.

use std::sync::Arc;

use discord_gateway::{
    convert,
    cursor::Progress,
    facts::{Facts, rank_of},
    frame::{Guild, Header, Interaction, Kind, Message, Ready, RoleChange, Snowflake, data},
    reader::{self, Reader, Taken},
    rest::{Counts, Rest},
    stats::Stats,
};
use proptest::prelude::*;
use protocol::{EventBody, InteractionBody, OptionValue, Rank};
use serde_json::{Value, json};
use tokio::sync::mpsc;

fn dispatch(name: &str, d: &Value) -> String {
    format!(r#"{{"t":"{name}","s":42,"op":0,"d":{d}}}"#)
}

fn message(change: impl FnOnce(&mut Value)) -> String {
    let mut d = json!({
        "id": "1173456789012345677", "channel_id": "900722068918788146", "guild_id": "900722059808747612",
        "type": 0, "content": "hello \"you\"\n\u{e9}", "tts": false, "embeds": [], "attachments": [],
        "author": { "id": "900713338982510593", "username": "ines", "global_name": "Ines", "avatar": null },
        "member": { "roles": ["1", "2"], "nick": null, "joined_at": "2021-10-21T12:27:53.727000+00:00" },
    });
    change(&mut d);
    dispatch("MESSAGE_CREATE", &d)
}

fn event(frame: &str, prefix: Option<&str>) -> protocol::Event {
    let message: Message<'_> = data(frame).unwrap();
    convert::message(&message, Rank::Moderator, prefix, 7).unwrap()
}

#[test]
fn the_header_is_found_whatever_stands_around_it() {
    for frame in [
        r#"{"t":"RESUMED","s":42,"op":0,"d":{}}"#,
        r#"{ "op" : 0, "d" : {"_trace":[]}, "s" : 42, "t" : "RESUMED" }"#,
        r#"{"op":0,"s":42,"t":"RESUMED","d":{"content":"\"op\":9,\"t\":\"READY\""}}"#,
    ] {
        // Discord writes no blanks before colons; a stranger's proxy may.
        let frame = frame.replace("\" :", "\":");
        let header = Header::read(&frame).unwrap();
        assert_eq!(
            (header.op, header.sequence, header.name.as_deref()),
            (0, Some(42), Some("RESUMED")),
            "{frame}"
        );
    }
    let header = Header::read(r#"{"t":null,"s":null,"op":11,"d":null}"#).unwrap();
    assert_eq!((header.op, header.sequence, header.name), (11, None, None));
    assert!(Header::read("").is_none());
}

#[test]
fn names_of_dispatches_are_few_labels() {
    assert_eq!(Kind::of("MESSAGE_CREATE"), (Kind::Message, "MESSAGE_CREATE"));
    assert_eq!(Kind::of("TYPING_START"), (Kind::Other, "TYPING_START"));
    assert_eq!(Kind::of("INVENTED_BY_A_STRANGER"), (Kind::Other, "unknown"));
}

#[test]
fn a_message_becomes_an_event() {
    let event = event(&message(|_| {}), None);
    assert_eq!(event.id.as_str(), "discord:1173456789012345677");
    assert_eq!((event.community.as_str(), event.received_us), ("900722059808747612", 7));
    assert_eq!(event.at_ms, Snowflake(1_173_456_789_012_345_677).at_ms());
    let EventBody::Message(chat) = event.body else { panic!() };
    assert_eq!((chat.text.as_str(), chat.author.name.as_str()), ("hello \"you\"\n\u{e9}", "Ines"));
    assert_eq!((chat.author.rank, chat.author.bot, chat.reply_to), (Rank::Moderator, false, None));
}

#[test]
fn names_replies_forwards_and_bots_are_told_apart() {
    let chat = |frame: &str| match event(frame, None).body {
        EventBody::Message(chat) => chat,
        _ => panic!(),
    };
    assert_eq!(chat(&message(|d| d["member"]["nick"] = "Captain".into())).author.name, "Captain");
    assert_eq!(chat(&message(|d| d["author"]["global_name"] = Value::Null)).author.name, "ines");
    assert!(chat(&message(|d| d["author"]["bot"] = true.into())).author.bot);
    assert!(chat(&message(|d| d["webhook_id"] = "5".into())).author.bot);
    let reply =
        message(|d| d["message_reference"] = json!({ "type": 0, "message_id": "9", "channel_id": "8" }));
    assert_eq!(chat(&reply).reply_to.unwrap().as_str(), "9");
    let forward = message(|d| d["message_reference"] = json!({ "type": 1, "message_id": "9" }));
    assert_eq!(chat(&forward).reply_to, None);
    let direct = event(&message(|d| d["guild_id"] = Value::Null), Some("!"));
    assert_eq!(direct.community.as_str(), "dm");
    assert!(matches!(direct.body, EventBody::Command(_)));
}

#[test]
fn what_discord_announces_is_no_chat() {
    for (kind, chat) in [(0, true), (19, true), (7, false), (8, false), (255, false)] {
        let frame = message(|d| d["type"] = kind.into());
        assert_eq!(data::<Message<'_>>(&frame).unwrap().is_chat(), chat, "{kind}");
    }
}

#[test]
fn ready_guilds_and_roles_are_read() {
    let ready = json!({
        "v": 10, "user": { "id": "2", "username": "vigie", "bot": true }, "session_id": "abc",
        "guilds": [{ "id": "1", "unavailable": true }], "resume_gateway_url": "wss://gateway.example",
        "application": { "id": "3", "flags": 0 }, "shard": [0, 1],
    });
    let ready: Ready = data(&dispatch("READY", &ready)).unwrap();
    assert_eq!((ready.user.id, ready.session_id.as_str(), ready.guilds.len()), (Snowflake(2), "abc", 1));
    let guild = json!({
        "id": "1", "owner_id": "4", "members": [{ "user": {} }], "channels": [],
        "roles": [{ "id": "1", "permissions": "1071698660929", "name": "@everyone" }],
    });
    let guild: Guild = data(&dispatch("GUILD_CREATE", &guild)).unwrap();
    assert_eq!((guild.owner_id, guild.roles[0].permissions), (Some(Snowflake(4)), 1_071_698_660_929));
    let gone: Guild = data(&dispatch("GUILD_CREATE", &json!({ "id": "1", "unavailable": true }))).unwrap();
    assert!(gone.owner_id.is_none());
    let role = json!({ "guild_id": "1", "role": { "id": "5", "permissions": "8" } });
    let role: RoleChange = data(&dispatch("GUILD_ROLE_UPDATE", &role)).unwrap();
    assert_eq!(rank_of(role.role.permissions), Rank::Owner);
}

#[test]
fn an_interaction_becomes_a_question() {
    let base = json!({
        "id": "1173456789012345677", "application_id": "3", "token": "secret", "version": 1, "locale": "fr",
        "guild_id": "1", "channel_id": "2", "app_permissions": "0", "type": 2,
        "member": { "user": { "id": "4", "username": "max" }, "nick": "Max", "permissions": "8192", "roles": [] },
        "data": { "id": "5", "name": "echo", "type": 1, "options": [
            { "name": "word", "type": 3, "value": "hi" }, { "name": "count", "type": 4, "value": 3 },
            { "name": "loud", "type": 5, "value": true }, { "name": "who", "type": 6, "value": "4" },
            { "name": "ratio", "type": 10, "value": 0.5 },
        ] },
    });
    let ask = |d: &Value| {
        let frame = dispatch("INTERACTION_CREATE", d);
        let asked: Interaction<'_> = data(&frame).unwrap();
        convert::interaction(&asked, 7)
    };
    let question = ask(&base).unwrap();
    assert_eq!((question.user.name.as_str(), question.user.rank), ("Max", Rank::Moderator));
    assert_eq!(question.locale.as_deref(), Some("fr"));
    let text = serde_json::to_string(&question).unwrap();
    assert!(!text.contains("secret"), "the token stays here");
    let InteractionBody::Command { name, options } = question.body else { panic!() };
    let text = |text: &str| OptionValue::Text(text.to_owned());
    assert_eq!(name, "echo");
    assert_eq!(
        (&options["word"], &options["who"], &options["ratio"]),
        (&text("hi"), &text("4"), &text("0.5"))
    );
    assert_eq!((&options["count"], &options["loud"]), (&OptionValue::Integer(3), &OptionValue::Bool(true)));

    let mut direct = base.clone();
    direct["member"] = Value::Null;
    direct["guild_id"] = Value::Null;
    direct["user"] = json!({ "id": "4", "username": "max" });
    let question = ask(&direct).unwrap();
    assert_eq!((question.community.as_str(), question.user.rank), ("dm", Rank::Everyone));

    let mut typing = base.clone();
    typing["type"] = 4.into();
    typing["data"]["options"] = json!([{ "name": "word", "type": 3, "value": "h", "focused": true }]);
    let expected =
        InteractionBody::Autocomplete { name: "echo".into(), option: "word".into(), partial: "h".into() };
    assert_eq!(ask(&typing).unwrap().body, expected);

    let mut pressed = base.clone();
    pressed["type"] = 3.into();
    pressed["data"] = json!({ "custom_id": "echo:again", "component_type": 2 });
    assert_eq!(ask(&pressed).unwrap().body, InteractionBody::Button { button: "echo:again".into() });

    let mut unknown = base;
    unknown["type"] = 77.into();
    assert!(ask(&unknown).is_none());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", name in "[A-Z_]{0,20}") {
        let _ = Header::read(&text);
        let _ = Header::read(&format!(r#"{{"t":"{name}","s":{text},"op":0,"d":{text}}}"#));
        let _ = data::<Message<'_>>(&text);
        let _ = data::<Interaction<'_>>(&format!(r#"{{"d":{text}}}"#));
        let _ = convert::is_command(&text, "!");
    }
}

#[tokio::test]
async fn after_every_resume_interactions_that_are_too_old_are_passed_by_until_the_replay_is_over() {
    service::install_crypto();
    let ctx = service::Context::new("test");
    let stats = Arc::new(Stats::new(&ctx));
    let rest =
        Rest::new("http://127.0.0.1:1", &"secret".into(), 50, Counts::new(&service::Metrics::default()))
            .unwrap();
    let builder = Arc::new(twilight_http::Client::builder().ratelimiter(None).build());
    let (interactions, mut asked) = mpsc::channel(8);
    let (items, _taken) = mpsc::channel(1);
    let context = reader::Context {
        facts: Arc::new(Facts::new(Arc::new(rest), builder)),
        stats,
        interactions,
        prefix: "!".into(),
    };
    let mut reader = Reader::new(0, context, Progress::new(Snowflake(3), 0, 1), Snowflake(9));
    let old = dispatch(
        "INTERACTION_CREATE",
        &json!({
            "id": "1173456789012345677", "application_id": "3", "token": "secret", "version": 1, "channel_id": "2",
            "guild_id": "1", "type": 2, "data": { "id": "5", "name": "echo", "type": 1 },
            "member": { "user": { "id": "4", "username": "max" }, "permissions": "0", "roles": [] },
        }),
    );
    let ready = dispatch(
        "READY",
        &json!({
            "user": { "id": "9" }, "session_id": "s", "resume_gateway_url": "ws://127.0.0.1:1", "guilds": [],
        }),
    );
    reader.resuming();
    assert_eq!(reader.take(&ready, 1, "READY", &items), Taken::Live);
    // A clock that is off must not cost an answer while there is nothing to replay.
    assert_eq!(reader.take(&old, 2, "INTERACTION_CREATE", &items), Taken::Yes);
    assert!(asked.try_recv().is_ok());
    for first in [3, 6] {
        reader.resuming();
        assert_eq!(reader.take(&old, first, "INTERACTION_CREATE", &items), Taken::Yes);
        assert!(asked.try_recv().is_err(), "it was answered");
        let resumed = dispatch("RESUMED", &json!({}));
        assert_eq!(reader.take(&resumed, first + 1, "RESUMED", &items), Taken::Live);
        assert_eq!(reader.take(&old, first + 2, "INTERACTION_CREATE", &items), Taken::Yes);
        assert!(asked.try_recv().is_ok());
    }
    assert_eq!(ctx.metrics.snapshot()["interactions_unanswered_total.late"], 2.0);
}
