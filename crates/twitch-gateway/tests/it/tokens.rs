//! Tokens that are wrong, and what is said about them.

use std::time::Duration;

use crate::rig::{DEMO, Plan, Rig};

#[tokio::test]
async fn without_an_account_the_platform_is_off_and_the_service_ready() {
    let variables = vec![("TWITCH_OAUTH_TOKEN", String::new())];
    let rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    let reason = rig.ctx.health.readiness().reason;
    assert!(reason.contains("twitch: TWITCH_OAUTH_TOKEN is not set"), "{reason}");
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_token_that_twitch_does_not_know_is_named() {
    let variables = vec![("TWITCH_OAUTH_TOKEN", "hunter2".to_owned())];
    let rig = Rig::start(Plan { variables, ..Plan::default() }).await;
    let reason = rig.until_reason("TWITCH_OAUTH_TOKEN is not valid").await;
    assert!(reason.contains("make a new user token of vigie_bot") && !reason.contains("hunter2"), "{reason}");
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 0, "it is not even tried");
    rig.stop().await;
}

#[tokio::test]
async fn a_token_of_somebody_else_is_named() {
    let variables = vec![("TWITCH_OAUTH_TOKEN", format!("sandbox-{DEMO}"))];
    let rig = Rig::start(Plan { variables, ..Plan::default() }).await;
    let reason = rig.until_reason("belongs to").await;
    assert!(reason.contains("belongs to vigie_demo, but TWITCH_USERNAME is vigie_bot"), "{reason}");
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_login_says_which_setting_and_heals() {
    let rig = Rig::ready(Plan::default()).await;
    rig.sandbox.twitch().faults().refuse_logins(3);
    rig.sandbox.twitch().drop_connections();
    let reason = rig.until_reason("refuses the login").await;
    assert!(reason.contains("vigie_bot (Login authentication failed): TWITCH_OAUTH_TOKEN"), "{reason}");
    rig.until_ready().await;
    rig.stop().await;
}

#[tokio::test]
async fn chat_goes_on_while_tokens_cannot_be_checked() {
    let variables = vec![("TWITCH_AUTH_URL", format!("http://127.0.0.1:{}", testkit::free_port()))];
    let rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_the_connection() {
    let mut plan = Plan::default();
    plan.timing.check_every = Duration::from_millis(100);
    let rig = Rig::ready(plan).await;
    assert!(rig.sandbox.twitch().revoke_token("sandbox-token"));
    rig.count("twitch.irc.disconnect", 1).await;
    rig.until_reason("twitch: twitch says that TWITCH_OAUTH_TOKEN is not valid").await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.login_refused"), 0, "it is not tried again");
    rig.stop().await;
}
