//! The health check beside real services: it sees them, and misses one that is killed.

use std::time::{Duration, Instant};

use e2e::{Stack, StackOptions};
use testkit::eventually;

/// Half a minute of silence, and the looks around it.
const MISSED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_killed_gateway_is_missed_and_found_again() {
    let mut stack = Stack::start(StackOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = stack.settings();
    settings.push(("HEALTHCHECK_DATA".to_owned(), folder.path().display().to_string()));
    let watch = stack.start_one("healthcheck", settings);
    watch.ready().await;
    let has = async |wanted: &[&str]| {
        eventually(MISSED_WITHIN, || async {
            let metrics = watch.metrics().await;
            let lines: Vec<&str> = metrics.lines().collect();
            if wanted.iter().all(|wanted| lines.contains(wanted)) { Ok(()) } else { Err(metrics) }
        })
        .await;
    };
    has(&[
        "vigie_health_up 1",
        "vigie_nats_up 1",
        "vigie_service_ready_instances{service=\"discord-gateway\"} 1",
        "vigie_service_ready_instances{service=\"twitch-gateway\"} 1",
        "vigie_service_ready_instances{service=\"command-worker\"} 1",
        "vigie_nats_consumers{queue=\"commands\"} 16",
        "vigie_nats_dead_letters 0",
    ])
    .await;
    stack.twitch.kill();
    let killed = Instant::now();
    has(&["vigie_health_up 0", "vigie_service_instances{service=\"twitch-gateway\"} 0"]).await;
    assert!(killed.elapsed() > Duration::from_secs(25), "a short silence is no alarm");
    stack.twitch.resume();
    has(&["vigie_health_up 1", "vigie_service_ready_instances{service=\"twitch-gateway\"} 1"]).await;
}
