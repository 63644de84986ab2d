//! What Vigie is measured against: the smallest bot that twilight makes, gateway and HTTP in one
//! process, with full decoding of what it listens to, and no guarantee at all. `cargo xtask bench`
//! runs it against the sandbox; see `docs/performance.md`.

use std::env;

use anyhow::Context;
use std::future::IntoFuture;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Event, EventTypeFlags, Intents, Shard, ShardId, StreamExt,
};
use twilight_http::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    service::install_crypto();
    let api = env::var("DISCORD_API_URL").context("DISCORD_API_URL is the sandbox's URL")?;
    let host = api.trim_start_matches("http://").to_owned();
    let token = env::var("DISCORD_TOKEN").context("DISCORD_TOKEN is the sandbox's token")?;
    // Without its limiter: it serialises requests and does not learn buckets, which would be measured.
    let http = Client::builder().token(token.clone()).proxy(host.clone(), true).ratelimiter(None).build();
    let intents = Intents::GUILDS | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let config = ConfigBuilder::new(token, intents).proxy_url(format!("ws://{host}/gateway")).build();
    let mut shard = Shard::with_config(ShardId::ONE, config);
    let wanted = EventTypeFlags::READY | EventTypeFlags::GUILD_CREATE | EventTypeFlags::MESSAGE_CREATE;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let event = tokio::select! {
            event = shard.next_event(wanted) => event,
            _ = terminate.recv() => {
                shard.close(CloseFrame::NORMAL);
                return Ok(());
            }
        };
        let Some(Ok(Event::MessageCreate(message))) = event else {
            if event.is_none() {
                anyhow::bail!("the gateway is closed for good");
            }
            continue;
        };
        if message.author.bot || !message.content.starts_with("!ping") {
            continue;
        }
        let request = http.create_message(message.channel_id).reply(message.id).content("pong").into_future();
        tokio::spawn(async move {
            if let Err(error) = request.await {
                tracing::warn!(%error, "not answered");
            }
        });
    }
}
