//! What a person is told when the demo is ready, and `--say`, which talks to the bot for them.

use std::{path::Path, time::Duration};

use anyhow::bail;
use serde_json::{Value, json};

use crate::{http, paths, shell::Paint};

/// How long the bot may take to answer on one platform.
const PATIENCE: Duration = Duration::from_secs(10);
/// The platforms of the sandbox, as its API names them.
const PLATFORMS: [&str; 2] = ["discord", "twitch"];

/// Prints the URL and what to try.
pub fn invite(url: &str, log: &Path) {
    let paint = Paint::stdout();
    println!("\n{}  {}\n\nTry", paint.good("Chat with the bot:"), paint.strong(url));
    for (what, comes) in [
        ("!ping", "on both platforms: the answer shows the latency of each leg"),
        ("!help", "what the bot can do there, for the person you are"),
        ("/about", "a slash command, on the Discord side"),
        ("!echo @everyone", "nobody is ever mentioned against their will"),
    ] {
        println!("  {what:<16} {}", paint.faint(comes));
    }
    println!("\nCtrl-C ends everything.  {}\n", paint.faint(&format!("Logs: {}", paths::shown(log))));
}

/// Says `text` on both platforms and prints the replies.
///
/// # Errors
/// When a platform gave no reply.
pub async fn say(url: &str, text: &str) -> anyhow::Result<()> {
    let paint = Paint::stdout();
    println!("\n  {:<9} {}", "you", paint.strong(text));
    let mut silent = Vec::new();
    for platform in PLATFORMS {
        let request = json!({ "platform": platform, "text": text, "within_ms": PATIENCE.as_millis() });
        match http::post(url, "/sandbox/ask", &request, PATIENCE + Duration::from_secs(5)).await {
            Ok(answer) => {
                let latency = answer["latency_us"].as_u64().map(milliseconds).unwrap_or_default();
                println!("  {platform:<9} {}  {}", reply(&answer["reply"]), paint.good(&latency));
            }
            Err(reason) => {
                println!("  {platform:<9} {}", paint.bad(&format!("{reason:#}")));
                silent.push(format!("{platform}: {reason:#}"));
            }
        }
    }
    println!();
    if !silent.is_empty() {
        bail!("not answered on {}", silent.join("; "));
    }
    Ok(())
}

/// A reply in one line: its text, or what its embeds say.
fn reply(line: &Value) -> String {
    let text = line["text"].as_str().unwrap_or_default();
    let embeds = line["embeds"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut parts: Vec<String> = Some(text.to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
    for embed in embeds {
        parts.extend(
            ["title", "description"].iter().filter_map(|name| embed[*name].as_str().map(str::to_owned)),
        );
        for field in embed["fields"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let word = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
            parts.push(format!("{}: {}", word("name"), word("value")));
        }
    }
    parts.join(" · ").replace('\n', " · ")
}

fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line() {
        let embed = json!({ "title": "Vigie", "fields": [{ "name": "uptime", "value": "3 s" }] });
        assert_eq!(reply(&json!({ "text": "a\nb", "embeds": [embed] })), "a · b · Vigie · uptime: 3 s");
        assert_eq!(reply(&json!({ "text": "Pong!" })), "Pong!");
    }
}
