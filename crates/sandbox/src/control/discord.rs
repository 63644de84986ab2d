//! Troubles of the local Discord.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Control,
    reply::{Body, Refused, done},
};
use crate::discord::Knobs;

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/discord/faults", get(faults).put(set_faults))
        .route("/sandbox/discord/mend", post(mend))
        .route("/sandbox/discord/drop", post(drop_connections))
        .route("/sandbox/discord/close", post(close))
        .route("/sandbox/discord/reconnect", post(reconnect))
        .route("/sandbox/discord/invalidate", post(invalidate))
}

async fn faults(State(control): State<Control>) -> Json<Knobs> {
    Json(control.discord.faults().get())
}

/// Turns the knobs that are named and leaves the others.
async fn set_faults(
    State(control): State<Control>,
    Body(change): Body<Value>,
) -> Result<Json<Knobs>, Refused> {
    let knobs = control.discord.faults().merge(&change);
    knobs.map(Json).map_err(|error| Refused::bad(format!("expected the knobs of GET: {error}")))
}

async fn mend(State(control): State<Control>) -> Json<Knobs> {
    control.discord.faults().set(Knobs::default());
    Json(control.discord.faults().get())
}

async fn drop_connections(State(control): State<Control>) -> Json<Value> {
    control.discord.drop_connections();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    code: u16,
}

async fn close(State(control): State<Control>, Body(close): Body<Close>) -> Result<Json<Value>, Refused> {
    if !matches!(close.code, 1000..=1014 | 3000..=4999) || matches!(close.code, 1004..=1006) {
        return Err(Refused::bad("expected a close code that may be sent, such as 4000, 4004 or 1001"));
    }
    control.discord.close_all(close.code);
    Ok(done())
}

async fn reconnect(State(control): State<Control>) -> Json<Value> {
    control.discord.reconnect_all();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidate {
    #[serde(default)]
    resumable: bool,
}

async fn invalidate(State(control): State<Control>, Body(how): Body<Invalidate>) -> Json<Value> {
    control.discord.invalidate_sessions(how.resumable);
    done()
}
