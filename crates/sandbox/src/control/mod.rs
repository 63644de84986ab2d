//! The control API under `/sandbox`: everything that the handles can do, as JSON, for the chat page,
//! for tools and for benchmarks. It is one table in the README of this crate.
//!
//! Owns requests and answers; what they do belongs to the handles, `load` and `replay`.

mod ask;
mod chat;
mod counts;
mod discord;
mod feed;
mod guard;
mod reply;
mod runs;
mod slash;
mod twitch;

use axum::{Router, middleware};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{counters::Counters, discord::Discord, feed::Feed, load::Load, replay::Replay, twitch::Twitch};

/// What every handler of the control API reaches; cheap to clone.
#[derive(Clone)]
pub struct Control {
    discord: Discord,
    twitch: Twitch,
    counters: Counters,
    feed: Feed,
    load: Load,
    replay: Replay,
    shutdown: CancellationToken,
}

impl Control {
    /// Over the handles of one sandbox; runs that it starts are `tasks` and end at `shutdown`.
    pub fn new(
        discord: Discord,
        twitch: Twitch,
        counters: Counters,
        feed: Feed,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let load = Load::new(discord.clone(), twitch.clone(), feed.clone(), shutdown.clone(), tasks.clone());
        let replay = Replay::new(discord.clone(), twitch.clone(), counters.clone(), shutdown.clone(), tasks);
        Self { discord, twitch, counters, feed, load, replay, shutdown }
    }
}

/// The routes of the control API, closed to other sites' pages.
pub fn router(control: Control) -> Router {
    Router::new()
        .merge(chat::router())
        .merge(ask::router())
        .merge(counts::router())
        .merge(discord::router())
        .merge(twitch::router())
        .merge(runs::router())
        .merge(feed::router())
        .fallback(reply::unknown_path)
        .layer(middleware::from_fn(guard::same_site_only))
        .with_state(control)
}
