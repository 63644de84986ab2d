//! What somebody sees who tries Vigie: the demo from nothing, a second bot beside it, the tools, and what happens
//! when a real token is left in the settings of the demo.

use std::{path::Path, time::Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::{
    people::{ANSWER_LIMIT, first_reply},
    project::Project,
    report::seconds,
};
use crate::{chaos::kinds::Platform, http, shell};

/// Tries it; what was measured, in words.
///
/// # Errors
/// When something does not work.
pub async fn try_it(folder: &Path, image: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    shell::complain("trying the demo");
    let demo = ["--profile", "demo"];
    let one = Project::new("one", folder, image)?;
    let began = Instant::now();
    let reply = async |platform| first_reply(&one.url, platform).await.map(|_| began.elapsed());
    let (up, discord, twitch) =
        tokio::try_join!(one.up(&demo, &[]), reply(Platform::Discord), reply(Platform::Twitch))?;
    let again = one.up(&demo, &[]).await?;
    let workers = one.up(&demo, &["--scale", "command-worker=4"]).await?;
    let status = one.compose(&["run", "--rm", "status"]).await?;
    ensure!(
        status.contains("Everything is ready."),
        "status does not say that everything is ready:\n{status}"
    );
    beside(&one, folder).await?;
    refuses_real_tokens(folder, image).await?;
    one.down().await?;
    Ok(vec![
        ("`docker compose --profile demo up -d --wait`, volumes and networks made anew", seconds(up)),
        ("from that command to the first reply on Discord", seconds(discord)),
        ("from that command to the first reply on Twitch", seconds(twitch)),
        ("the same command again, nothing to do", seconds(again)),
        ("`--scale command-worker=4` from 1, until all are healthy", seconds(workers)),
    ])
}

/// A second bot on the same machine answers too, and neither answers what the other was told.
async fn beside(one: &Project, folder: &Path) -> anyhow::Result<()> {
    shell::complain("trying a second bot beside it");
    let other = Project::new("other", folder, one.image())?;
    other.up(&["--profile", "demo"], &[]).await?;
    for platform in Platform::ALL {
        first_reply(&other.url, platform).await?;
        let before = replies(one, platform).await?;
        let question = json!({ "platform": platform.name(), "text": "!echo aside", "within_ms": 5000 });
        http::post(&other.url, "/sandbox/ask", &question, ANSWER_LIMIT * 2).await?;
        ensure!(before == replies(one, platform).await?, "one bot answered what another was told");
    }
    other.down().await
}

async fn replies(project: &Project, platform: Platform) -> anyhow::Result<usize> {
    let path = format!("/sandbox/history?platform={}", platform.name());
    let lines = http::get(&project.url, &path, ANSWER_LIMIT).await?;
    let lines = lines.as_array().context("expected a list of lines")?;
    Ok(lines.iter().filter(|line| line["author"]["role"] == "bot").count())
}

async fn refuses_real_tokens(folder: &Path, image: &str) -> anyhow::Result<()> {
    shell::complain("trying the demo with a real token");
    let mut real = Project::new("real", folder, image)?;
    real.set("TWITCH_OAUTH_TOKEN", "oauth:real")?;
    for service in ["demo-discord", "demo-twitch"] {
        let ran = real.compose(&["--profile", "demo", "run", "--rm", "--no-deps", service]).await;
        let refused = ran.err().with_context(|| format!("{service} runs beside a real token"))?.to_string();
        ensure!(
            refused.contains("leave out --profile demo"),
            "{service} does not say why it ends: {refused}"
        );
        ensure!(!refused.contains("oauth:real"), "{service} shows the token");
    }
    real.down().await
}
