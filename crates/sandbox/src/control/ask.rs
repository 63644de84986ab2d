//! `POST /sandbox/ask`: says a line and waits for the answer, for scripts and `--say`.

use std::time::{Duration, Instant};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::broadcast, time::timeout};

use super::{
    Control,
    reply::{Body, Refused},
};
use crate::{
    feed::{Item, Line, Platform},
    people::Person,
};

const WAIT_MS: u64 = 5_000;
const LONGEST_WAIT_MS: u64 = 60_000;

pub fn router() -> Router<Control> {
    Router::new().route("/sandbox/ask", post(ask))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    platform: Platform,
    #[serde(default = "viewer")]
    person: Person,
    channel: Option<String>,
    /// A line, or on Discord a slash command as it is typed.
    text: String,
    #[serde(default = "wait_ms")]
    within_ms: u64,
}

const fn viewer() -> Person {
    Person::Ines
}

const fn wait_ms() -> u64 {
    WAIT_MS
}

async fn ask(State(control): State<Control>, Body(ask): Body<Ask>) -> Result<Response, Refused> {
    if ask.within_ms > LONGEST_WAIT_MS {
        return Err(Refused::bad(format!("expected within_ms of at most {LONGEST_WAIT_MS}")));
    }
    let channel = control.channel(ask.platform, ask.channel.as_deref())?;
    let mut feed = control.feed.watch();
    let start = Instant::now();
    let is_slash = ask.platform == Platform::Discord && ask.text.starts_with('/');
    let id = if is_slash {
        control.slash_text(ask.person, &channel, &ask.text)?
    } else {
        control.say(ask.platform, ask.person, &channel, &ask.text)?
    };
    let wanted = Wanted { platform: ask.platform, channel, id, is_slash };
    let within = Duration::from_millis(ask.within_ms);
    let answered = tokio::select! {
        () = control.shutdown.cancelled() => Err("the sandbox is stopping".to_owned()),
        found = timeout(within, wanted.find(&mut feed)) => match found {
            Ok(found) => found,
            Err(_) => Err(silence(&control, ask.platform, ask.within_ms)),
        },
    };
    Ok(match answered {
        Ok(line) => {
            let measured = || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            let latency_us = line.latency_us.unwrap_or_else(measured);
            Json(json!({ "reply": line, "latency_us": latency_us })).into_response()
        }
        Err(reason) => Refused::new(StatusCode::GATEWAY_TIMEOUT, reason).into_response(),
    })
}

struct Wanted {
    platform: Platform,
    channel: String,
    id: String,
    is_slash: bool,
}

impl Wanted {
    async fn find(&self, feed: &mut broadcast::Receiver<Item>) -> Result<Line, String> {
        loop {
            match feed.recv().await {
                Ok(Item::Message { platform, line } | Item::Edited { platform, line })
                    if platform == self.platform && self.is_answer(&line) =>
                {
                    return Ok(line);
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err("the sandbox is stopping".to_owned()),
            }
        }
    }

    /// A bot's line that refers to ours. A bot may also answer without a reference: then the first
    /// line it writes into the channel is taken.
    fn is_answer(&self, line: &Line) -> bool {
        let refers = match &line.reply_to {
            Some(to) => *to == self.id,
            None => line.heading.is_some() == self.is_slash,
        };
        line.author.role == "bot" && line.channel == self.channel && refers
    }
}

fn silence(control: &Control, platform: Platform, within_ms: u64) -> String {
    let online: Vec<String> = control
        .feed
        .bots()
        .into_iter()
        .filter(|bot| bot.platform == platform && bot.online)
        .map(|bot| bot.name)
        .collect();
    if online.is_empty() {
        format!("no answer within {within_ms} ms, and no bot is connected: is the gateway running?")
    } else {
        format!("no answer within {within_ms} ms, though {} is connected", online.join(", "))
    }
}
