//! `GET /helix/streams`: the channels that are live.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State as Shared},
};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{Caller, values};
use crate::twitch::{Inner, world::Channel};

/// Streams of one answer; `first` can be at most this.
const MAX_STREAMS: usize = 100;

pub(super) async fn get(
    Shared(twitch): Shared<Arc<Inner>>,
    _caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Json<Value> {
    let (ids, logins) = (values(&query, "user_id"), values(&query, "user_login"));
    let state = twitch.state();
    let wanted = |channel: &&Channel| {
        (ids.is_empty() && logins.is_empty())
            || ids.contains(&channel.owner.id)
            || logins.contains(&channel.login)
    };
    let live = state.channels.values().filter(wanted).filter_map(stream);
    Json(json!({"data": live.take(MAX_STREAMS).collect::<Vec<_>>(), "pagination": {}}))
}

fn stream(channel: &Channel) -> Option<Value> {
    let live = channel.live.as_ref()?;
    Some(json!({
        "id": live.id,
        "user_id": channel.owner.id,
        "user_login": channel.owner.login,
        "user_name": channel.owner.name,
        "game_id": "509670",
        "game_name": "Science & Technology",
        "type": "live",
        "title": "A stream that nobody sees",
        "tags": ["English"],
        "tag_ids": [],
        "viewer_count": 42,
        "started_at": live.since.format(&Rfc3339).unwrap_or_default(),
        "language": "en",
        "thumbnail_url": format!(
            "https://static-cdn.jtvnw.net/previews-ttv/live_user_{}-{{width}}x{{height}}.jpg",
            channel.login
        ),
        "is_mature": false,
    }))
}
