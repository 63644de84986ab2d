//! The bot, its application, and other users.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{Answer, Body, Shared, id, ok};
use crate::discord::{
    error::{ApiError, Problems},
    payload::UserJson,
    permissions::ALL,
    validate::Fields,
    world::APPLICATION,
};

/// `GET /users/@me`.
pub async fn me(State(inner): State<Shared>) -> Answer {
    ok(&inner.world().current_user())
}

/// `GET /users/@me/guilds`; the first 200.
pub async fn my_guilds(State(inner): State<Shared>) -> Answer {
    let world = inner.world();
    let guilds = world.guild_order.iter().filter_map(|id| world.guilds.get(id)).take(200);
    let partial = guilds.map(|guild| {
        let permissions = guild.permissions_of(APPLICATION) & ALL;
        json!({
            "id": guild.id, "name": guild.name, "icon": null, "banner": null, "owner": false,
            "permissions": permissions.to_string(), "features": [],
        })
    });
    ok(&partial.collect::<Vec<Value>>())
}

/// `POST /users/@me/channels`.
pub async fn open_dm(State(inner): State<Shared>, Body(body): Body) -> Answer {
    let empty = serde_json::Map::new();
    let mut problems = Problems::default();
    let mut fields = Fields::new(body.as_object().unwrap_or(&empty), "", &mut problems);
    let recipient = fields.id("recipient_id");
    if fields.get("recipient_id").is_none() {
        problems.required("recipient_id");
    }
    problems.finish()?;
    let mut world = inner.world();
    let user = recipient.filter(|id| world.users.contains_key(id)).ok_or(ApiError::UNKNOWN_USER)?;
    if user == APPLICATION {
        return Err(ApiError::NO_DM);
    }
    let channel = world.direct_messages(user);
    ok(&world.channel_value(world.channel(channel)?, false))
}

/// `GET /users/{user.id}`.
pub async fn user(State(inner): State<Shared>, Path(user): Path<String>) -> Answer {
    let world = inner.world();
    let user = world.users.get(&id("user_id", &user)?).ok_or(ApiError::UNKNOWN_USER)?;
    ok(&UserJson::new(user))
}

/// `GET /applications/@me`.
pub async fn application(State(inner): State<Shared>) -> Answer {
    ok(&inner.world().application())
}
