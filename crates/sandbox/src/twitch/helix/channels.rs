//! `GET /helix/channels`: title and category of channels.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State as Shared},
};
use serde_json::{Value, json};

use super::{Caller, Refusal, values};
use crate::twitch::{Inner, world::Channel};

pub(super) async fn get(
    Shared(twitch): Shared<Arc<Inner>>,
    _caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Refusal> {
    let ids = values(&query, "broadcaster_id");
    if ids.is_empty() {
        return Err(Refusal::bad("Missing required parameter \"broadcaster_id\""));
    }
    let state = twitch.state();
    let found = ids.iter().filter_map(|id| state.channel_by_id(id)).map(channel);
    Ok(Json(json!({"data": found.collect::<Vec<_>>()})))
}

fn channel(channel: &Channel) -> Value {
    json!({
        "broadcaster_id": channel.owner.id,
        "broadcaster_login": channel.owner.login,
        "broadcaster_name": channel.owner.name,
        "broadcaster_language": "en",
        "game_id": "509670",
        "game_name": "Science & Technology",
        "title": "A stream that nobody sees",
        "delay": 0,
        "tags": ["English"],
        "content_classification_labels": [],
        "is_branded_content": false,
    })
}
