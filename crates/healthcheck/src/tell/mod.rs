//! Telling people. Each channel compares what is wrong with what it has told, and tells the difference: nothing is
//! queued, nothing told twice, and what failed is tried again until it is out or over.

mod board;
mod channel;
mod client;
mod discord;
mod email;
mod note;
mod web;

use std::sync::{Arc, OnceLock};

use presence::Connection;
use service::Context;

pub use board::Board;
use channel::{Channel, Way};
pub use client::{Again, Client, Failure};
use discord::{Bot, Discord};
pub use email::Addresses;
use email::Email;
use web::{Ntfy, Webhook};

use crate::{
    config::{Address, Config},
    kept::Store,
    view::{Condition, Views},
};

/// Tells people from now on, in every way that is set.
///
/// # Errors
/// When TLS cannot be started.
pub fn start(
    context: &Context,
    config: &Config,
    connection: &Connection,
    views: &Views,
    store: &Arc<Store>,
    board: &Board,
) -> anyhow::Result<()> {
    let mut ways = Vec::new();
    let component = context.health.component("alerts");
    component.up();
    if config.discord_channel.is_some() || config.discord_webhook.is_some() {
        let bot = config.discord_channel.clone().map(|channel| Bot::new(connection.clone(), channel));
        let webhook = config.discord_webhook.clone().map(|Address(url)| url);
        let discord = Discord { client: Client::new()?, bot, webhook, refused: OnceLock::new() };
        ways.push(("discord", Way::Discord(discord)));
    }
    if let Some(Address(url)) = config.webhook.clone() {
        ways.push(("webhook", Way::Webhook(Webhook { client: Client::new()?, url })));
    }
    if let Some(Address(url)) = config.ntfy.clone() {
        let token = config.ntfy_token.clone();
        ways.push(("ntfy", Way::Ntfy(Ntfy { client: Client::new()?, url, token })));
    }
    if let Some(addresses) = config.email.clone() {
        ways.push(("email", Way::Email(Email::new(addresses)?)));
    }
    if ways.is_empty() {
        component.off("nobody is told what is wrong: set ALERT_DISCORD_CHANNEL, or another ALERT_ setting");
    }
    let told = context.metrics.counter_vec("health_told", "Messages to people that went out", "channel");
    let failed = context.metrics.counter_vec("health_tell_failures", "Tries that failed", "channel");
    for (name, way) in ways {
        board.set_channel(name, Condition::Untried);
        let channel = Channel {
            name,
            way,
            views: views.clone(),
            store: store.clone(),
            board: board.clone(),
            quiet: config.quiet,
            pace: config.pace,
            told: told.with(name),
            failed: failed.with(name),
            shutdown: context.shutdown.clone(),
        };
        context.tasks.spawn(name, async move {
            channel.run().await;
            Ok(())
        });
    }
    Ok(())
}
