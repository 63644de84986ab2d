//! `GET /helix/users`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State as Shared},
};
use serde_json::{Value, json};

use super::{Caller, Refusal, values};
use crate::twitch::{Inner, people::Account};

pub(super) async fn get(
    Shared(twitch): Shared<Arc<Inner>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Refusal> {
    let (ids, logins) = (values(&query, "id"), values(&query, "login"));
    let state = twitch.state();
    let found: Vec<Arc<Account>> = if ids.is_empty() && logins.is_empty() {
        let own = caller.account.ok_or_else(|| Refusal::bad("Must provide an ID, Login or OAuth Token."))?;
        vec![own]
    } else {
        let by_id = ids.iter().filter_map(|id| state.account_by_id(id));
        by_id.chain(logins.iter().filter_map(|login| state.accounts.get(login).cloned())).collect()
    };
    Ok(Json(json!({"data": found.iter().map(|account| user(account)).collect::<Vec<_>>()})))
}

fn user(account: &Account) -> Value {
    json!({
        "id": account.id,
        "login": account.login,
        "display_name": account.name,
        "type": "",
        "broadcaster_type": "",
        "description": "Lives in the sandbox.",
        "profile_image_url": "https://static-cdn.jtvnw.net/user-default-pictures-uv/cdd517fe-def4-11e9-948e-784f43822e80-profile_image-300x300.png",
        "offline_image_url": "",
        "view_count": 0,
        "created_at": "2016-12-14T20:32:28Z",
    })
}
