//! Tests of [`Engine`](super::Engine): who is answered what, and who is not.

use std::time::Duration;

use protocol::{ActionBody, Author, OptionValue, Platform, Rank, ResponseBody, UserId};

use super::{Asked, Passed};
use crate::{
    Cooldown, Language, apology, chat_actions,
    fixture::{self, engine, event, ines, interaction, response, slash},
};

fn passed(text: &str, author: Author) -> Option<Passed> {
    engine(Language::En).of_event(&event(Platform::Twitch, text, author)).err()
}

#[test]
fn finds_a_command_by_its_first_word() {
    assert_eq!(passed("!ping", ines()), None);
    assert_eq!(passed("! PING now", ines()), None);
    assert_eq!(passed("!pingpong", ines()), Some(Passed::Unknown));
    assert_eq!(passed("!", ines()), Some(Passed::Unknown));
    assert_eq!(passed("!ping", Author { bot: true, ..ines() }), Some(Passed::Bot));
}

#[test]
fn who_runs_the_bot_ranks_highest_everywhere() {
    let owner = Author { id: UserId::new(fixture::OWNER).unwrap(), ..ines() };
    let call = engine(Language::En).of_event(&event(Platform::Twitch, "!ping", owner.clone())).unwrap();
    assert_eq!(call.ask().user.rank, Rank::Operator);
    assert_eq!(call.cooldown(None), None);
    let elsewhere = engine(Language::En).of_event(&event(Platform::Discord, "!ping", owner)).unwrap();
    assert_eq!(elsewhere.ask().user.rank, Rank::Everyone, "the same number is another account there");
}

/// Whoever owns a guild or a channel does not own the bot, whatever a gateway says and however they call themselves.
#[tokio::test]
async fn only_who_runs_the_bot_gives_orders() {
    let strangers = [
        ines(),
        Author { rank: Rank::Owner, ..ines() },
        Author { rank: Rank::Operator, ..ines() },
        Author { name: fixture::OWNER.to_owned(), ..ines() },
    ];
    for name in ["update", "rollback", "deploys", "backup", "backups"] {
        for stranger in strangers.clone() {
            let call = engine(Language::En).of_event(&event(
                Platform::Twitch,
                &format!("!{name}"),
                stranger.clone(),
            ));
            let call = call.unwrap();
            let answer = call.run().await.unwrap();
            assert_eq!((answer.order, answer.ephemeral), (None, true));
            assert!(answer.content.text.contains("OWNER_ID"), "{}", answer.content.text);
            // A crowd hears it once a minute, whatever is set.
            let cooldown = call.cooldown(Some(Duration::ZERO)).unwrap();
            assert_eq!((cooldown.key.as_str(), cooldown.lasts.as_secs()), ("not-open.twitch.2", 60));
            let asked = protocol::Interaction { user: stranger, ..interaction("fr", slash(name, &[])) };
            let Asked::Answered(response) = engine(Language::En).of_interaction(&asked) else {
                panic!("{name} is not theirs")
            };
            let ResponseBody::Reply { content, ephemeral: true } = response.body else {
                panic!("{response:?}")
            };
            assert!(content.text.contains("OWNER_ID"), "{}", content.text);
        }
    }
}

#[test]
fn a_cooldown_is_one_persons() {
    let cooldown = |author: Author, setting| {
        let call = engine(Language::En).of_event(&event(Platform::Twitch, "!ping", author)).unwrap();
        call.cooldown(setting)
    };
    let lasts =
        |seconds| Some(Cooldown { key: "ping.twitch.5".to_owned(), lasts: Duration::from_secs(seconds) });
    assert_eq!(cooldown(ines(), None), lasts(3));
    assert_eq!(cooldown(ines(), Some(Duration::from_secs(60))), lasts(60));
    assert_eq!(cooldown(ines(), Some(Duration::ZERO)), None);
    assert_eq!(cooldown(Author { rank: Rank::Moderator, ..ines() }, None), None);
}

#[tokio::test]
async fn wrong_arguments_are_answered_with_the_usage() {
    let answer = fixture::answer("!echo").await;
    assert_eq!(answer.content.text, "‘text’ is missing. Usage: !echo <text>");
    let ResponseBody::Reply { content, ephemeral } = response(slash("echo", &[])).await.body else {
        panic!("a slash command is answered with a reply");
    };
    assert_eq!(content.text, "‘text’ is missing. Usage: /echo <text>");
    assert!(ephemeral);
}

#[tokio::test]
async fn a_slash_command_is_the_same_command() {
    let given = [("text", OptionValue::Text("hello".to_owned()))];
    let ResponseBody::Reply { content, ephemeral } = response(slash("echo", &given)).await.body else {
        panic!("a slash command is answered with a reply");
    };
    assert_eq!((content.text.as_str(), ephemeral), ("hello", false));
}

#[test]
fn an_unknown_slash_command_gets_a_note_in_the_persons_language() {
    for (locale, text) in [
        ("fr", "cette commande n’existe plus ; redémarrez Discord"),
        ("en-US", "I do not have this command any more; please reload your client"),
        // Not spoken: the bot's own language.
        ("de", "cette commande n’existe plus ; redémarrez Discord"),
    ] {
        let asked = engine(Language::Fr).of_interaction(&interaction(locale, slash("gone", &[])));
        let Asked::Answered(response) = asked else { panic!("there is no such command") };
        let ResponseBody::Reply { content, ephemeral: true } = response.body else {
            panic!("a note is for the person alone");
        };
        assert_eq!(content.text, text);
    }
}

#[tokio::test]
async fn an_answer_in_chat_is_a_reply_with_the_events_id() {
    let event = event(Platform::Twitch, "!echo hi", ines());
    let call = engine(Language::En).of_event(&event).unwrap();
    let content = call.run().await.unwrap().content;
    let actions = chat_actions(&event, &call.ask().channel, &3.into(), vec![content; 2], 9);
    assert_eq!(actions[0].id.as_str(), "twitch:3:0");
    assert_eq!(actions[1].id.as_str(), "twitch:3:1");
    assert!(matches!(&actions[0].body, ActionBody::Reply { to, .. } if to.as_str() == "3"));
}

#[test]
fn an_apology_names_the_id_to_search() {
    assert_eq!(
        apology(Language::En, "1a2b3c4d").content.text,
        "sorry, that went wrong. If it stays so, tell the bot’s owner this id: 1a2b3c4d"
    );
}
