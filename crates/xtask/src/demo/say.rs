//! What a person is told when the demo is ready, and `--say`, which talks to the bot for them.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use crate::{http, paths, shell::Paint};

/// How long the bot may take to answer on both platforms.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the sandbox heard on one platform.
#[derive(Debug, Deserialize)]
struct Heard {
    platform: String,
    reply: Option<String>,
    latency_us: Option<u64>,
    #[serde(default)]
    error: Option<String>,
}

/// Prints the URL and what to try.
pub fn invite(url: &str, log: &Path) {
    let paint = Paint::stdout();
    println!("\n{}  {}", paint.good("Chat with the bot:"), paint.strong(url));
    println!("\nTry");
    for (what, comes) in [
        ("!ping", "on both platforms: the bot answers, with the latency of each leg"),
        ("!help", "what the bot can do there, for the person you are"),
        ("/about", "as a slash command, on the Discord side"),
        ("!echo @everyone", "nobody is ever mentioned against their will"),
    ] {
        println!("  {what:<16} {}", paint.faint(comes));
    }
    let log = paths::shown(log);
    println!("\nCtrl-C ends everything. Logs: {log}\n");
}

/// Says `text` on both platforms and prints the replies.
///
/// # Errors
/// When a platform gave no reply.
pub async fn say(url: &str, text: &str) -> anyhow::Result<()> {
    let request = json!({ "text": text, "timeout_ms": PATIENCE.as_millis() });
    let answer = http::post(url, "/sandbox/ask", &request, PATIENCE + Duration::from_secs(5)).await?;
    let heard: Vec<Heard> = serde_json::from_value(answer["replies"].clone())
        .context("the sandbox answered in an unexpected shape")?;
    let paint = Paint::stdout();
    println!("\n  {:<8} {}", "you", paint.strong(text));
    let mut silent = Vec::new();
    for one in &heard {
        match (&one.reply, one.latency_us) {
            (Some(reply), Some(latency_us)) => {
                println!("  {:<8} {reply}  {}", one.platform, paint.good(&milliseconds(latency_us)));
            }
            _ => {
                let why = one.error.as_deref().unwrap_or("no reply");
                println!("  {:<8} {}", one.platform, paint.bad(why));
                silent.push(format!("{}: {why}", one.platform));
            }
        }
    }
    println!();
    if heard.is_empty() {
        bail!("the sandbox asked nobody");
    }
    if !silent.is_empty() {
        bail!("not answered on {}", silent.join("; "));
    }
    Ok(())
}

fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}
