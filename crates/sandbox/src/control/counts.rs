//! The counters: all of them, as JSON or for Prometheus, or wait until one gets there.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Control,
    reply::{Asked, Refused},
};

const LONGEST_WAIT_MS: u64 = 60_000;
const WAIT_MS: u64 = 10_000;
/// Longest name that may be waited for, so that a mistake cannot grow the table of counters.
const LONGEST_NAME: usize = 120;

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/counters", get(all))
        .route("/sandbox/counters/wait", get(wait))
        .route("/metrics", get(metrics))
}

async fn all(State(control): State<Control>) -> Json<BTreeMap<String, u64>> {
    Json(control.counters.all())
}

/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
async fn metrics(State(control): State<Control>) -> impl IntoResponse {
    let mut text =
        String::from("# HELP sandbox_total What happened, by name.\n# TYPE sandbox_total counter\n");
    for (name, count) in control.counters.all() {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        text.push_str(&format!("sandbox_total{{name=\"{name}\"}} {count}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

#[derive(Deserialize)]
struct Wait {
    name: String,
    at_least: u64,
    #[serde(default = "wait_ms")]
    within_ms: u64,
}

const fn wait_ms() -> u64 {
    WAIT_MS
}

async fn wait(State(control): State<Control>, Asked(wait): Asked<Wait>) -> Result<Json<Value>, Refused> {
    if wait.within_ms > LONGEST_WAIT_MS {
        return Err(Refused::bad(format!("expected within_ms of at most {LONGEST_WAIT_MS}")));
    }
    if wait.name.is_empty() || wait.name.len() > LONGEST_NAME {
        return Err(Refused::bad("expected the name of a counter, such as discord.gateway.identify"));
    }
    let within = Duration::from_millis(wait.within_ms);
    tokio::select! {
        () = control.shutdown.cancelled() => {
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the sandbox is stopping"))
        }
        reached = control.counters.wait(&wait.name, wait.at_least, within) => match reached {
            Ok(value) => Ok(Json(json!({ "name": wait.name, "value": value }))),
            Err(not) => Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, not.to_string())),
        },
    }
}
