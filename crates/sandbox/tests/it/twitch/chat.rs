//! Joining, talking, replying, and what is told of subs, raids and moderation.

use sandbox::{feed::Item, people::Person};

use super::client::{Irc, SOON, say, start, start_with, tag, without_limits};

#[tokio::test]
async fn a_join_is_answered_with_names_own_state_and_room() {
    let sandbox = start().await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.expect("GLOBALUSERSTATE").await;
    irc.send("JOIN #vigie_demo,#Quiet_Corner").await;
    for (channel, id, moderator) in [("vigie_demo", "700100100", "1"), ("quiet_corner", "700100200", "0")] {
        let mask = "vigie_bot!vigie_bot@vigie_bot.tmi.twitch.tv";
        assert_eq!(irc.line().await.unwrap(), format!(":{mask} JOIN #{channel}"));
        assert_eq!(
            irc.line().await.unwrap(),
            format!(":vigie_bot.tmi.twitch.tv 353 vigie_bot = #{channel} :vigie_bot")
        );
        assert_eq!(
            irc.line().await.unwrap(),
            format!(":vigie_bot.tmi.twitch.tv 366 vigie_bot #{channel} :End of /NAMES list")
        );
        let state = irc.line().await.unwrap();
        assert!(state.ends_with(&format!(":tmi.twitch.tv USERSTATE #{channel}")), "{state}");
        assert_eq!(tag(&state, "mod").as_deref(), Some(moderator));
        let room = irc.line().await.unwrap();
        assert!(room.ends_with(&format!(":tmi.twitch.tv ROOMSTATE #{channel}")), "{room}");
        assert_eq!(tag(&room, "room-id").as_deref(), Some(id));
    }
    irc.send("PART #vigie_demo").await;
    irc.expect("PART #vigie_demo").await;
    say(&sandbox, "vigie_demo", "nobody hears this");
    say(&sandbox, "quiet_corner", "but this");
    let heard = irc.so_far().await;
    assert_eq!(heard.len(), 1, "{heard:#?}");
    assert!(heard[0].ends_with("PRIVMSG #quiet_corner :but this"));
}

#[tokio::test]
async fn joins_and_parts_of_others_are_only_told_to_those_who_asked() {
    let sandbox = start().await;
    let mut asked = Irc::connect(sandbox.irc_addr()).await;
    asked.send("CAP REQ :twitch.tv/membership").await;
    asked.login("justinfan1", "x").await;
    asked.join("vigie_demo").await;
    let mut did_not = Irc::connect(sandbox.irc_addr()).await;
    did_not.login("justinfan2", "x").await;
    did_not.join("vigie_demo").await;
    asked.expect(":justinfan2!justinfan2@justinfan2.tmi.twitch.tv JOIN #vigie_demo").await;
    let bot = Irc::bot_in(&sandbox, "vigie_demo").await;
    asked.expect(":vigie_bot!vigie_bot@vigie_bot.tmi.twitch.tv JOIN #vigie_demo").await;
    drop(bot);
    asked.expect(":vigie_bot!vigie_bot@vigie_bot.tmi.twitch.tv PART #vigie_demo").await;
    assert_eq!(did_not.so_far().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_line_carries_who_said_it_and_as_what() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    let twitch = sandbox.twitch();
    for (person, id, badges, moderator, kind) in [
        (Person::Olive, "700100100", "broadcaster/1", "0", ""),
        (Person::Max, "600100300", "moderator/1,subscriber/12", "1", "mod"),
        (Person::Ines, "600100400", "subscriber/3", "0", ""),
        (Person::Noor, "600100500", "", "0", ""),
    ] {
        let said = twitch.say(person, "vigie_demo", "Kappa hello").unwrap();
        let line = irc.expect("PRIVMSG #vigie_demo :Kappa hello").await;
        let has = |key: &str, value: &str| assert_eq!(tag(&line, key).as_deref(), Some(value), "{line}");
        has("id", &said);
        has("user-id", id);
        has("badges", badges);
        has("mod", moderator);
        has("user-type", kind);
        has("display-name", person.name());
        has("room-id", "700100100");
        has("emotes", "25:0-4");
        has("first-msg", "0");
        assert!(tag(&line, "tmi-sent-ts").unwrap().parse::<u64>().unwrap() > 1_700_000_000_000);
    }
}

#[tokio::test]
async fn a_reply_names_its_parent_and_is_timed() {
    let sandbox = start_with(without_limits()).await;
    let mut feed = sandbox.feed().watch();
    let mut bot = Irc::bot_in(&sandbox, "vigie_demo").await;
    let mut reader = Irc::connect(sandbox.irc_addr()).await;
    reader.login("justinfan7", "x").await;
    reader.join("vigie_demo").await;

    let parent = say(&sandbox, "vigie_demo", "!ping; now");
    bot.expect("!ping; now").await;
    let tags = format!("@client-nonce=n1;reply-parent-msg-id={parent}");
    bot.send(&format!("{tags} PRIVMSG #vigie_demo :pong")).await;

    let state = bot.expect("USERSTATE #vigie_demo").await;
    assert_eq!(tag(&state, "client-nonce").as_deref(), Some("n1"));
    let line = reader.expect("PRIVMSG #vigie_demo :@Ines pong").await;
    let has = |key: &str, value: &str| assert_eq!(tag(&line, key).as_deref(), Some(value), "{line}");
    has("id", &tag(&state, "id").unwrap());
    has("client-nonce", "n1");
    has("reply-parent-msg-id", &parent);
    has("reply-parent-user-login", "ines");
    has("reply-parent-user-id", "600100400");
    has("reply-parent-display-name", "Ines");
    has("reply-parent-msg-body", "!ping; now");
    has("reply-thread-parent-msg-id", &parent);
    has("reply-thread-parent-user-login", "ines");
    assert!(bot.so_far().await.iter().all(|line| !line.contains("PRIVMSG")), "the sender hears itself");

    let shown = loop {
        let item = tokio::time::timeout(SOON, feed.recv()).await.unwrap().unwrap();
        if let Item::Message { line, .. } = item
            && line.author.role == "bot"
        {
            break line;
        }
    };
    assert_eq!((shown.text.as_str(), shown.reply_to.as_deref()), ("pong", Some(parent.as_str())));
    assert!(shown.latency_us.unwrap() > 0);

    // A reply to the reply belongs to the same thread.
    bot.send(&format!("@reply-parent-msg-id={} PRIVMSG #vigie_demo :and again", shown.id)).await;
    let line = reader.expect("and again").await;
    assert_eq!(tag(&line, "reply-parent-msg-id").as_deref(), Some(shown.id.as_str()));
    assert_eq!(tag(&line, "reply-thread-parent-msg-id").as_deref(), Some(parent.as_str()));
}

#[tokio::test]
async fn a_reply_to_nothing_is_an_ordinary_message() {
    let sandbox = start().await;
    let mut bot = Irc::bot_in(&sandbox, "vigie_demo").await;
    bot.send("@reply-parent-msg-id=gone PRIVMSG #vigie_demo :hello").await;
    bot.expect("USERSTATE").await;
    let history = sandbox.twitch().history("vigie_demo");
    assert_eq!((history[0].text.as_str(), &history[0].reply_to), ("hello", &None));
}

#[tokio::test]
async fn actions_and_dead_commands() {
    let sandbox = start_with(without_limits()).await;
    let mut bot = Irc::bot_in(&sandbox, "vigie_demo").await;
    let mut reader = Irc::connect(sandbox.irc_addr()).await;
    reader.login("justinfan7", "x").await;
    reader.join("vigie_demo").await;
    bot.send("PRIVMSG #vigie_demo :/me waves").await;
    reader.expect("PRIVMSG #vigie_demo :\u{1}ACTION waves\u{1}").await;
    for command in ["/ban", ".timeout"] {
        bot.send(&format!("PRIVMSG #vigie_demo :{command} ines")).await;
        let notice = bot.expect("NOTICE #vigie_demo").await;
        assert_eq!(tag(&notice, "msg-id").as_deref(), Some("unrecognized_cmd"));
        assert!(notice.ends_with(&format!(":Unrecognized command: {command}")));
    }
    assert_eq!(reader.so_far().await, Vec::<String>::new());
    bot.send("PRIVMSG #vigie_demo :/disconnect").await;
    bot.until_end().await;
}

#[tokio::test]
async fn without_tags_a_line_is_bare() {
    let sandbox = start().await;
    let mut irc = Irc::connect(sandbox.irc_addr()).await;
    irc.send("NICK justinfan9").await;
    irc.send("JOIN #vigie_demo").await;
    irc.expect(" 366 ").await;
    say(&sandbox, "vigie_demo", "plain");
    sandbox.twitch().raid("vigie_demo", 5).unwrap();
    assert_eq!(
        irc.so_far().await,
        [":ines!ines@ines.tmi.twitch.tv PRIVMSG #vigie_demo :plain"],
        "a USERNOTICE needs the commands capability"
    );
}

#[tokio::test]
async fn subs_gifts_raids_and_announcements() {
    let sandbox = start().await;
    let twitch = sandbox.twitch();
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    let mut check = async |id: &str, tags: &[(&str, &str)]| {
        let line = irc.expect("USERNOTICE #vigie_demo").await;
        assert_eq!(tag(&line, "msg-id").as_deref(), Some(id), "{line}");
        for (key, value) in tags {
            assert_eq!(tag(&line, key).as_deref(), Some(*value), "{key} in {line}");
        }
        line
    };
    twitch.subscribe("vigie_demo", Person::Noor).unwrap();
    check("sub", &[("login", "noor"), ("msg-param-sub-plan", "1000")]).await;
    twitch.resub("vigie_demo", Person::Ines, 5, "still here").unwrap();
    let line = check("resub", &[("msg-param-cumulative-months", "5")]).await;
    assert!(line.ends_with("USERNOTICE #vigie_demo :still here"));
    twitch.gift("vigie_demo", Person::Max, Person::Noor).unwrap();
    let words = "Max gifted a Tier 1 sub to Noor!";
    check("subgift", &[("msg-param-recipient-user-name", "noor"), ("system-msg", words)]).await;
    twitch.gift_many("vigie_demo", Person::Max, 3).unwrap();
    check("submysterygift", &[("msg-param-mass-gift-count", "3")]).await;
    for _ in 0..3 {
        check("subgift", &[("login", "max"), ("msg-param-sender-count", "0")]).await;
    }
    twitch.raid("vigie_demo", 42).unwrap();
    let words = "42 raiders from North_Pier have joined!";
    check("raid", &[("msg-param-viewerCount", "42"), ("login", "north_pier"), ("system-msg", words)]).await;
    twitch.announce("vigie_demo", Person::Max, "live soon").unwrap();
    check("announcement", &[("msg-param-color", "PRIMARY"), ("system-msg", "")]).await;
    assert!(twitch.announce("vigie_demo", Person::Ines, "me too").is_err());
}

#[tokio::test]
async fn moderation_is_told_and_shows_in_the_history() {
    let sandbox = start().await;
    let twitch = sandbox.twitch();
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    let gone = say(&sandbox, "vigie_demo", "bad words");
    twitch.say(Person::Noor, "vigie_demo", "kept").unwrap();
    twitch.delete("vigie_demo", &gone).unwrap();
    let line = irc.expect("CLEARMSG #vigie_demo :bad words").await;
    assert_eq!(tag(&line, "target-msg-id").as_deref(), Some(gone.as_str()));
    assert_eq!(tag(&line, "login").as_deref(), Some("ines"));
    assert_eq!(twitch.history("vigie_demo").len(), 1);

    twitch.timeout("vigie_demo", "noor", 60).unwrap();
    let line = irc.expect("CLEARCHAT #vigie_demo :noor").await;
    assert_eq!(tag(&line, "ban-duration").as_deref(), Some("60"));
    assert_eq!(tag(&line, "target-user-id").as_deref(), Some("600100500"));
    assert!(twitch.say(Person::Noor, "vigie_demo", "hm").is_err());
    assert!(twitch.history("vigie_demo").is_empty());

    twitch.clear_chat("vigie_demo").unwrap();
    let line = irc.expect("CLEARCHAT #vigie_demo").await;
    assert!(line.ends_with("CLEARCHAT #vigie_demo"), "{line}");
    assert!(twitch.timeout("vigie_demo", "vigie_demo", 60).is_err(), "the broadcaster stays");
}

#[tokio::test]
async fn two_accounts_hear_each_other() {
    let mut options = without_limits();
    options.more_bots.push(sandbox::twitch::Bot {
        login: "other_bot".into(),
        token: "other-token".into(),
        refresh_token: "other-refresh".into(),
    });
    let sandbox = start_with(options).await;
    let mut one = Irc::bot_in(&sandbox, "quiet_corner").await;
    let mut two = Irc::connect(sandbox.irc_addr()).await;
    two.login("other_bot", "oauth:other-token").await;
    two.join("quiet_corner").await;
    one.send("PRIVMSG #quiet_corner :one").await;
    two.expect(":vigie_bot!vigie_bot@vigie_bot.tmi.twitch.tv PRIVMSG #quiet_corner :one").await;
    two.send("PRIVMSG #quiet_corner :two").await;
    one.expect(":other_bot!other_bot@other_bot.tmi.twitch.tv PRIVMSG #quiet_corner :two").await;
}
