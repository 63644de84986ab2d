//! Capabilities, PASS and NICK, and what a client hears before chat.

use super::client::{Irc, start, start_with, tag, without_limits};

#[tokio::test]
async fn a_bot_is_welcomed_with_its_own_state() {
    let sandbox = start().await;
    let mut irc = Irc::connect(sandbox.irc_addr()).await;
    irc.send("CAP LS 302").await;
    assert_eq!(
        irc.line().await.unwrap(),
        ":tmi.twitch.tv CAP * LS :twitch.tv/commands twitch.tv/membership twitch.tv/tags"
    );
    irc.send("CAP REQ :twitch.tv/tags twitch.tv/commands").await;
    assert_eq!(irc.line().await.unwrap(), ":tmi.twitch.tv CAP * ACK :twitch.tv/tags twitch.tv/commands");
    irc.send("CAP REQ :twitch.tv/membership example.org/unknown").await;
    assert_eq!(
        irc.line().await.unwrap(),
        ":tmi.twitch.tv CAP * NAK :twitch.tv/membership example.org/unknown"
    );
    irc.send("CAP LIST").await;
    assert_eq!(irc.line().await.unwrap(), ":tmi.twitch.tv CAP * LIST :twitch.tv/commands twitch.tv/tags");
    irc.send("CAP END").await;
    irc.send("PASS oauth:sandbox-token").await;
    irc.send("NICK Vigie_Bot").await;
    for (numeric, words) in [
        ("001", "Welcome, GLHF!"),
        ("002", "Your host is tmi.twitch.tv"),
        ("003", "This server is rather new"),
        ("004", "-"),
        ("375", "-"),
        ("372", "You are in a maze of twisty passages, all alike."),
        ("376", ">"),
    ] {
        assert_eq!(irc.line().await.unwrap(), format!(":tmi.twitch.tv {numeric} vigie_bot :{words}"));
    }
    let state = irc.line().await.unwrap();
    assert!(state.ends_with(":tmi.twitch.tv GLOBALUSERSTATE"), "{state}");
    assert_eq!(tag(&state, "user-id").as_deref(), Some("800100200"));
}

#[tokio::test]
async fn a_wrong_token_is_told_and_hung_up_on() {
    let sandbox = start().await;
    for (pass, words) in [
        (Some("oauth:wrong"), "Login authentication failed"),
        (Some("sandbox-token"), "Improperly formatted auth"),
        (Some("oauth:"), "Improperly formatted auth"),
        (None, "Improperly formatted auth"),
    ] {
        let mut irc = Irc::connect(sandbox.irc_addr()).await;
        if let Some(pass) = pass {
            irc.send(&format!("PASS {pass}")).await;
        }
        irc.send("NICK vigie_bot").await;
        assert_eq!(irc.until_end().await, [format!(":tmi.twitch.tv NOTICE * :{words}")]);
    }
    assert_eq!(sandbox.counters().get("twitch.irc.login_refused"), 4);
    assert_eq!(sandbox.counters().get("twitch.irc.login"), 0);
}

#[tokio::test]
async fn a_token_opens_only_its_own_account() {
    let sandbox = start().await;
    let mut irc = Irc::connect(sandbox.irc_addr()).await;
    irc.send("PASS oauth:sandbox-token").await;
    irc.send("NICK vigie_demo").await;
    assert_eq!(irc.until_end().await, [":tmi.twitch.tv NOTICE * :Login authentication failed"]);
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let sandbox = start().await;
    assert!(sandbox.twitch().expire_token("sandbox-token"));
    let mut irc = Irc::connect(sandbox.irc_addr()).await;
    irc.send("PASS oauth:sandbox-token").await;
    irc.send("NICK vigie_bot").await;
    assert_eq!(irc.until_end().await, [":tmi.twitch.tv NOTICE * :Login authentication failed"]);
}

#[tokio::test]
async fn a_guest_reads_and_cannot_write() {
    let sandbox = start().await;
    let mut guest = Irc::connect(sandbox.irc_addr()).await;
    guest.login("justinfan12345", "SCHMOOPIIE").await;
    guest.join("vigie_demo").await;
    guest.send("PRIVMSG #vigie_demo :hello?").await;
    guest.so_far().await;
    assert_eq!(sandbox.counters().get("twitch.privmsg.refused.anonymous"), 1);
    assert!(sandbox.twitch().history("vigie_demo").is_empty());
    super::client::say(&sandbox, "vigie_demo", "hi all");
    guest.expect("PRIVMSG #vigie_demo :hi all").await;
}

#[tokio::test]
async fn more_logins_than_allowed_are_refused() {
    let mut options = without_limits();
    options.limits.logins = 2;
    let sandbox = start_with(options).await;
    let _first = Irc::bot(&sandbox).await;
    let _second = Irc::bot(&sandbox).await;
    let mut third = Irc::connect(sandbox.irc_addr()).await;
    third.send("PASS oauth:sandbox-token").await;
    third.send("NICK vigie_bot").await;
    assert_eq!(third.until_end().await, [":tmi.twitch.tv NOTICE * :Login unsuccessful"]);
}

#[tokio::test]
async fn ping_is_answered_and_an_unknown_command_is_named() {
    let sandbox = start().await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.expect("GLOBALUSERSTATE").await;
    irc.send("PING :here").await;
    assert_eq!(irc.line().await.unwrap(), ":tmi.twitch.tv PONG tmi.twitch.tv :here");
    irc.send("PING").await;
    assert_eq!(irc.line().await.unwrap(), "PONG");
    irc.send("KICK #vigie_demo ines").await;
    assert_eq!(irc.line().await.unwrap(), ":tmi.twitch.tv 421 vigie_bot KICK :Unknown command");
}
