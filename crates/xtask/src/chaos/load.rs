//! The people: they type commands and talk at a steady rate in every channel, and somebody watches
//! what the bots reply.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use super::{
    kinds::Platform,
    ledger::{Ledger, Place},
    stack::{ANSWER_LIMIT, Stack},
};
use crate::http;

/// Who types, in turn.
const PEOPLE: [&str; 4] = ["ines", "noor", "max", "olive"];

/// The ledger, shared by those who say, watch and judge.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// The ledger, for as long as nothing is awaited.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says `rate` commands a second on each platform, in its channels in turn, and as much chatter.
///
/// # Errors
/// When the sandbox does not take a line.
pub async fn talk(stack: &Stack, shared: &Shared, rate: u32, platform: Platform) -> anyhow::Result<()> {
    let places = stack.places_of(Some(platform));
    ensure!(!places.is_empty(), "{} has no channel to talk in", platform.name());
    let mut tick = interval(Duration::from_secs(1) / rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        tick.tick().await;
        let place = &places[turn % places.len()];
        let person = PEOPLE[(turn / places.len()) % PEOPLE.len()];
        let (number, token) = shared.ledger().begin(place.clone(), stack.now());
        let said = say(stack, place, person, &format!("!echo {token} ahoy")).await?;
        let id = said["id"].as_str().context("the sandbox told no id")?;
        let heard = said["heard"].as_u64().context("the sandbox did not tell who heard it")?;
        shared.ledger().told(number, id, heard);
        say(stack, place, person, &format!("nice weather, {turn} knots of wind")).await?;
        shared.ledger().chatted();
    }
    Ok(())
}

async fn say(stack: &Stack, place: &Place, person: &str, text: &str) -> anyhow::Result<Value> {
    let body = json!({
        "platform": place.platform.name(), "channel": place.channel, "person": person, "text": text,
    });
    http::post(&stack.url, "/sandbox/say", &body, ANSWER_LIMIT).await
}

/// Watches what bots say, for ever.
///
/// # Errors
/// When the feed ends or leaves something out: then the ledger is worth nothing.
pub async fn watch(stack: &Stack, shared: &Shared) -> anyhow::Result<()> {
    listen(&stack.url, |place, text| shared.ledger().seen(place, text, stack.now())).await
}

/// Tells what bots say at a sandbox and where, for ever.
///
/// # Errors
/// When the feed ends or leaves something out.
pub(crate) async fn listen(url: &str, mut seen: impl FnMut(&Place, &str)) -> anyhow::Result<()> {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await?;
    // HTTP/1.0 has no chunks, so that the events come as they are.
    stream.write_all(format!("GET /sandbox/feed HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.context("the sandbox's feed broke")? {
        ensure!(!line.starts_with("event: missed"), "the sandbox's feed left something out");
        let Some(data) = line.strip_prefix("data:") else { continue };
        let item: Value = serde_json::from_str(data).context("the sandbox's feed is not understood")?;
        if item["type"] != "message" || item["line"]["author"]["role"] != "bot" {
            continue;
        }
        let named = |platform: &Platform| item["platform"] == platform.name();
        let Some(platform) = Platform::ALL.into_iter().find(named) else { continue };
        let word = |name: &str| item["line"][name].as_str().unwrap_or_default();
        seen(&Place { platform, channel: word("channel").to_owned() }, word("text"));
    }
    bail!("the sandbox's feed ended")
}
