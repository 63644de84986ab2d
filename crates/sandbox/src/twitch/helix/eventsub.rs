//! `POST`, `GET` and `DELETE /helix/eventsub/subscriptions`.
//! Source: Helix reference, "Create EventSub Subscription" and its neighbours.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State as Shared},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Caller, Refusal, values};
use crate::twitch::{
    Inner,
    eventsub::{MAX_TOTAL_COST, Subscription, Unwanted, types},
};

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    version: String,
    condition: Map<String, Value>,
    transport: Transport,
}

#[derive(Debug, Deserialize)]
struct Transport {
    method: String,
    #[serde(default)]
    session_id: String,
}

pub(super) async fn create(
    Shared(twitch): Shared<Arc<Inner>>,
    caller: Caller,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let body: Body = serde_json::from_slice(&body).map_err(|_| Refusal::bad("invalid request body"))?;
    if body.transport.method != "websocket" {
        return Err(Refusal::bad("only the websocket transport is served here"));
    }
    let user =
        caller.account.clone().ok_or_else(|| Refusal::bad("invalid transport and auth combination"))?;
    let kind = types::find(&body.kind, &body.version)
        .ok_or_else(|| Refusal::bad("invalid subscription type and version"))?;
    let condition = |key: &str| body.condition.get(key).and_then(Value::as_str).filter(|id| !id.is_empty());
    let about = kind.about.iter().find_map(|key| condition(key));
    let about = about.ok_or_else(|| Refusal::bad("missing or unparseable subscription condition"))?;
    let proper = || Refusal::forbidden("subscription missing proper authorization");
    if kind.user.is_some_and(|key| condition(key) != Some(user.id.as_str())) {
        return Err(proper());
    }
    if kind.scope.is_some_and(|scope| !caller.token.has(scope)) {
        return Err(proper());
    }
    let banned = {
        let state = twitch.state();
        let channel = state.channel_by_id(about);
        channel.is_some_and(|channel| channel.banned(&user.id, std::time::Instant::now()).is_some())
    };
    if banned && kind.name.starts_with("channel.chat.") {
        return Err(proper());
    }
    // A user who authorised the application makes the subscription free; every user here did.
    let made = twitch.eventsub.subscribe(
        kind.name,
        kind.version,
        body.condition.clone(),
        &body.transport.session_id,
        &user.id,
        0,
    );
    let made = made.map_err(|unwanted| match unwanted {
        Unwanted::UnknownSession => {
            Refusal::bad("websocket transport session does not exist or has already disconnected")
        }
        Unwanted::Exists => Refusal::new(StatusCode::CONFLICT, "subscription already exists"),
        Unwanted::TooMany => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "number of websocket transports limit exceeded")
        }
        Unwanted::TooDear => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "total cost of subscriptions limit exceeded")
        }
    })?;
    let all = twitch.eventsub.list(Some(&user.id));
    Ok((StatusCode::ACCEPTED, Json(answer(&[made], &all))))
}

pub(super) async fn list(
    Shared(twitch): Shared<Arc<Inner>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Json<Value> {
    let all = twitch.eventsub.list(caller.account.as_ref().map(|account| account.id.as_str()));
    let (status, kind) = (values(&query, "status"), values(&query, "type"));
    let id = values(&query, "subscription_id");
    let chosen = all.iter().filter(|sub| {
        (status.is_empty() || status.iter().any(|wanted| wanted == sub.status))
            && (kind.is_empty() || kind.contains(&sub.kind))
            && (id.is_empty() || id.contains(&sub.id))
    });
    let chosen: Vec<Subscription> = chosen.cloned().collect();
    let mut body = answer(&chosen, &all);
    body["pagination"] = json!({});
    Json(body)
}

pub(super) async fn delete(
    Shared(twitch): Shared<Arc<Inner>>,
    _caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<StatusCode, Refusal> {
    let id = values(&query, "id");
    let id = id.first().ok_or_else(|| Refusal::bad("Missing required parameter \"id\""))?;
    if twitch.eventsub.delete(id) {
        twitch.counters.add("twitch.eventsub.deleted");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::new(StatusCode::NOT_FOUND, "subscription not found"))
}

fn answer(chosen: &[Subscription], all: &[Subscription]) -> Value {
    let enabled = || all.iter().filter(|sub| sub.status == "enabled");
    json!({
        "data": chosen.iter().map(Subscription::json).collect::<Vec<_>>(),
        "total": enabled().count(),
        "total_cost": enabled().map(|sub| sub.cost).sum::<u32>(),
        "max_total_cost": MAX_TOTAL_COST,
    })
}
