//! Where the gateway is.

use axum::extract::State;
use serde_json::json;

use super::{Answer, Shared, ok};

/// `GET /gateway`.
pub async fn address(State(inner): State<Shared>) -> Answer {
    ok(&json!({ "url": inner.gateway_url() }))
}

/// `GET /gateway/bot`.
pub async fn bot(State(inner): State<Shared>) -> Answer {
    let options = &inner.options;
    let (remaining, reset_after) = inner.hub.starts_left(options.identify_total);
    ok(&json!({
        "url": inner.gateway_url(),
        "shards": options.shards,
        "session_start_limit": {
            "total": options.identify_total, "remaining": remaining,
            "reset_after": reset_after, "max_concurrency": options.max_concurrency,
        },
    }))
}
