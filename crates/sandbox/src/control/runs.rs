//! Runs that take a while: the load generator and the replay.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Control,
    reply::{Asked, Body, Refused, done},
};
use crate::{
    load::{self, CannotRun, Report},
    replay::{self, CannotReplay, Progress},
};

/// Largest captured chat, in bytes.
const MOST_CAPTURED_BYTES: usize = 32 << 20;

pub fn router() -> Router<Control> {
    let replay = get(progress).post(start_replay).layer(DefaultBodyLimit::max(MOST_CAPTURED_BYTES));
    Router::new()
        .route("/sandbox/load", get(report).post(start_load))
        .route("/sandbox/load/stop", post(stop_load))
        .route("/sandbox/replay", replay)
        .route("/sandbox/replay/stop", post(stop_replay))
}

/// Which load; without a name the one that has none.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

async fn report(State(control): State<Control>, Asked(Named { name }): Asked<Named>) -> Json<Report> {
    Json(control.load.report(&name))
}

async fn start_load(
    State(control): State<Control>,
    Body(plan): Body<load::Plan>,
) -> Result<Json<Value>, Refused> {
    control.load.start(plan).map_err(|error| match error {
        CannotRun::Busy => Refused::new(StatusCode::CONFLICT, error.to_string()),
        CannotRun::OutOfBounds(_) | CannotRun::NoChannel => Refused::bad(error.to_string()),
    })?;
    Ok(done())
}

async fn stop_load(State(control): State<Control>, Asked(Named { name }): Asked<Named>) -> Json<Value> {
    control.load.stop(&name);
    done()
}

async fn progress(State(control): State<Control>) -> Json<Progress> {
    Json(control.replay.progress())
}

async fn start_replay(
    State(control): State<Control>,
    Body(plan): Body<replay::Plan>,
) -> Result<Json<Progress>, Refused> {
    let started = control.replay.start(&plan);
    started.map(Json).map_err(|error| match error {
        CannotReplay::Busy => Refused::new(StatusCode::CONFLICT, error.to_string()),
        CannotReplay::OutOfBounds(_) | CannotReplay::NoChannel => Refused::bad(error.to_string()),
    })
}

async fn stop_replay(State(control): State<Control>) -> Json<Value> {
    control.replay.stop();
    done()
}
