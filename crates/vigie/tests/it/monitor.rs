//! `vigie monitor` in a terminal of 80 columns and 25 lines.

use std::collections::BTreeMap;

use protocol::{Outcome, ServiceStats, VERSION};
use serde_json::json;
use testkit::Nats;

use crate::{folder::Folder, terminal::Terminal};

#[tokio::test]
async fn services_and_what_passes_are_shown_and_the_terminal_comes_back() {
    let (folder, mut nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let announced = bus
        .announce("discord-gateway", || ServiceStats {
            v: VERSION,
            service: "discord-gateway".to_owned(),
            instance: "here-1".to_owned(),
            build: "0.1.0 (abc)".to_owned(),
            uptime_s: 3,
            ready: true,
            reason: String::new(),
            resident_bytes: 7 << 20,
            metrics: BTreeMap::new(),
        })
        .await
        .unwrap();
    let mut command = folder.vigie(&["monitor"]);
    command.env("NATS_URL", nats.url());
    let terminal = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::start(&command);
        terminal.wait_for("discord-gateway");
        terminal.wait_for("outcomes/s");
        terminal
    });
    let mut terminal = terminal.await.unwrap();
    let outcome: Outcome =
        serde_json::from_value(json!({ "v": 1, "action": "discord:9:0", "platform": "discord",
        "community": "42", "at_ms": 1_700_000_000_150_u64,
        "body": { "dropped": { "reason": "forbidden", "detail": "Missing Access" } } }))
        .unwrap();
    bus.notify("outcome.discord.42".to_owned(), &outcome, None).await.unwrap();
    let mut terminal = tokio::task::spawn_blocking(move || {
        // The line is cut at the edge.
        terminal.wait_for("forbidden: Missin");
        terminal
    })
    .await
    .unwrap();
    nats.kill();
    let (status, screen) = tokio::task::spawn_blocking(move || {
        terminal.wait_for("does not answer any more");
        terminal.press("q");
        terminal.ended()
    })
    .await
    .unwrap();
    assert!(status.success(), "{screen}");
    assert!(screen.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "the cursor and the page are back");
    drop(announced);
}

#[test]
fn without_a_terminal_it_says_what_programs_use() {
    let folder = Folder::new();
    let output = folder.vigie(&["monitor"]).env("NATS_URL", "nats://127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vigie status --watch --json"));
}
