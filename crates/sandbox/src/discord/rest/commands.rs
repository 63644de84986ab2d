//! Registration of application commands, global and per guild.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};

use super::{Answer, Body, Shared, id, no_content, ok};
use crate::discord::{
    error::ApiError,
    snowflake::Id,
    validate::command::{read, read_all, read_change},
    world::{APPLICATION, World, commands::Command},
};

type Parts = Path<HashMap<String, String>>;

/// `GET …/commands`.
pub async fn list(State(inner): State<Shared>, Path(path): Parts) -> Answer {
    let world = inner.world();
    let scope = scope(&world, &path)?;
    ok(&world.commands.of(scope).iter().map(|command| &command.body).collect::<Vec<_>>())
}

/// `POST …/commands`: 201 for a new one, 200 for a replaced one.
pub async fn create(State(inner): State<Shared>, Path(path): Parts, Body(body): Body) -> Answer {
    let mut world = inner.world();
    let scope = scope(&world, &path)?;
    let body = read(&body)?;
    let World { commands, ids, .. } = &mut *world;
    let (command, new) = commands.put(ids, scope, body)?;
    inner.counters.add("discord.commands.registered");
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(command.body)).into_response())
}

/// `PUT …/commands`.
pub async fn replace(State(inner): State<Shared>, Path(path): Parts, Body(body): Body) -> Answer {
    let mut world = inner.world();
    let scope = scope(&world, &path)?;
    let bodies = read_all(&body)?;
    let World { commands, ids, .. } = &mut *world;
    let stored = commands.replace(ids, scope, bodies)?;
    inner.counters.add("discord.commands.registered");
    ok(&stored.iter().map(|command| &command.body).collect::<Vec<_>>())
}

/// `GET …/commands/{command.id}`.
pub async fn get(State(inner): State<Shared>, Path(path): Parts) -> Answer {
    let world = inner.world();
    ok(&find(&world, &path)?.body)
}

/// `PATCH …/commands/{command.id}`.
pub async fn edit(State(inner): State<Shared>, Path(path): Parts, Body(body): Body) -> Answer {
    let mut world = inner.world();
    let scope = scope(&world, &path)?;
    let known = find(&world, &path)?;
    let (id, body) = (known.id, read_change(&known.body, &body)?);
    let World { commands, ids, .. } = &mut *world;
    ok(&commands.edit(ids, scope, id, body)?.body)
}

/// `DELETE …/commands/{command.id}`.
pub async fn delete(State(inner): State<Shared>, Path(path): Parts) -> Answer {
    let mut world = inner.world();
    let scope = scope(&world, &path)?;
    let id = find(&world, &path)?.id;
    world.commands.remove(scope, id);
    no_content()
}

/// The guild whose commands are meant; none for the global ones.
fn scope(world: &World, path: &HashMap<String, String>) -> Result<Option<Id>, ApiError> {
    let part = |name: &str| path.get(name).map(|text| id(name, text)).transpose();
    if part("application_id")? != Some(APPLICATION) {
        return Err(ApiError::MISSING_ACCESS);
    }
    match part("guild_id")? {
        Some(guild) if !world.guilds.contains_key(&guild) => Err(ApiError::MISSING_ACCESS),
        guild => Ok(guild),
    }
}

fn find<'a>(world: &'a World, path: &HashMap<String, String>) -> Result<&'a Command, ApiError> {
    let scope = scope(world, path)?;
    let wanted = id("command_id", path.get("command_id").map_or("", String::as_str))?;
    world.commands.of(scope).iter().find(|command| command.id == wanted).ok_or(ApiError::UNKNOWN_COMMAND)
}
