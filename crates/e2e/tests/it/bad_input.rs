//! Bad input gets a clear message that says what to do, or is survived.

use e2e::{Stack, StackOptions, run_to_end};
use sandbox::feed::Platform;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn every_bad_setting_is_named_before_anything_starts() {
    let bad = variables(&[
        ("LOG_LEVEL", "loud"),
        ("VIGIE_HTTP_ADDR", "nowhere"),
        ("PREFIX", ""),
        ("DISCORD_SHARDS", "many"),
        ("DISCORD_API_URL", "discord.com"),
    ]);
    let ended = run_to_end("discord-gateway", &bad).await;
    assert_eq!(ended.code, Some(64), "{}", ended.said);
    for name in ["LOG_LEVEL", "VIGIE_HTTP_ADDR", "DISCORD_SHARDS", "DISCORD_API_URL"] {
        assert!(ended.said.contains(&format!("{name}: expected")), "{name} in {}", ended.said);
    }
    assert!(!ended.said.contains("PREFIX"), "an empty value means not set: {}", ended.said);
}

#[tokio::test]
async fn a_wrong_token_is_named_and_the_other_platform_goes_on() {
    let variables = vec![("DISCORD_TOKEN", "wrong".to_owned())];
    let stack = Stack::start_unready(StackOptions { variables, ..StackOptions::default() }).await;
    stack.twitch.ready().await;
    stack.ask(Platform::Twitch, "!echo still here").await;
    testkit::eventually(std::time::Duration::from_secs(20), || async {
        let log = stack.discord.log();
        if log.contains("DISCORD_TOKEN") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!stack.discord.log().contains("Bot wrong"), "a token must not be logged");
}

#[tokio::test]
async fn a_platform_without_credentials_is_off_and_says_so() {
    let variables = vec![("TWITCH_OAUTH_TOKEN", String::new()), ("DISCORD_TOKEN", String::new())];
    let stack = Stack::start(StackOptions { variables, ..StackOptions::default() }).await;
    for gateway in [&stack.discord, &stack.twitch] {
        gateway.ready().await;
        assert!(gateway.log().contains("off"), "{}", gateway.log());
    }
}

#[tokio::test]
async fn nats_that_is_not_there_is_named() {
    let port = testkit::free_port();
    let url = format!("nats://127.0.0.1:{port}");
    let started = std::time::Instant::now();
    let settings = variables(&[("NATS_URL", &url), ("VIGIE_HTTP_ADDR", "127.0.0.1:0")]);
    let ended = run_to_end("command-worker", &settings).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains(&url) && ended.said.contains("NATS_URL"), "{}", ended.said);
    assert!(started.elapsed().as_secs() >= 5, "it waits for a server that is just starting");
}
