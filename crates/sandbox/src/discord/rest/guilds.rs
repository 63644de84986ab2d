//! Guilds, their channels and roles.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};

use super::{Answer, Shared, flag, id, ok};
use crate::discord::{error::ApiError, payload::guild::role as role_json};

/// `GET /guilds/{guild.id}`.
pub async fn get(
    State(inner): State<Shared>,
    Path(guild): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let with_counts = flag(&query, "with_counts");
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    ok(&world.guild_value(guild, with_counts))
}

/// `GET /guilds/{guild.id}/channels`.
pub async fn channels(State(inner): State<Shared>, Path(guild): Path<String>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let channels = guild.channels.iter().filter_map(|id| world.channels.get(id));
    ok(&channels.map(|channel| world.channel_value(channel, false)).collect::<Vec<_>>())
}

/// `GET /guilds/{guild.id}/roles`.
pub async fn roles(State(inner): State<Shared>, Path(guild): Path<String>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    ok(&guild.roles.iter().map(role_json).collect::<Vec<_>>())
}

/// `GET /guilds/{guild.id}/roles/{role.id}`.
pub async fn role(State(inner): State<Shared>, Path((guild, role)): Path<(String, String)>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let role = guild.role(id("role_id", &role)?).ok_or(ApiError::UNKNOWN_ROLE)?;
    ok(&role_json(role))
}
