//! Members of guilds: reading, roles, time-outs, kicks and bans.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::{Answer, Body, Shared, id, no_content, ok};
use crate::discord::{
    Inner,
    error::{ApiError, Problems},
    gateway::{Event, intents},
    payload::{MemberJson, UserJson},
    permissions::{
        BAN_MEMBERS, CHANGE_NICKNAME, KICK_MEMBERS, MANAGE_NICKNAMES, MANAGE_ROLES, MODERATE_MEMBERS,
    },
    snowflake::Id,
    validate::{Fields, read_id},
    world::{
        APPLICATION, World,
        guild::{Guild, Member},
    },
};

/// The most members one request lists.
const MAX_LISTED: usize = 1000;
/// Characters of a nickname.
const MAX_NICK: usize = 32;

type Query2 = Query<HashMap<String, String>>;

/// `GET /guilds/{guild.id}/members`.
pub async fn list(State(inner): State<Shared>, Path(guild): Path<String>, Query(query): Query2) -> Answer {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(1).min(MAX_LISTED);
    let after = query.get("after").and_then(|after| after.parse().ok()).unwrap_or(Id(0));
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let members = guild.members.keys().filter(|user| **user > after).take(limit);
    ok(&members.map(|user| world.member_value(guild, *user)).collect::<Vec<_>>())
}

/// `GET /guilds/{guild.id}/members/search`.
pub async fn search(State(inner): State<Shared>, Path(guild): Path<String>, Query(query): Query2) -> Answer {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(1).min(MAX_LISTED);
    let begin = query
        .get("query")
        .ok_or_else(|| ApiError::field("query", "BASE_TYPE_REQUIRED", "This field is required"))?;
    let begin = begin.to_lowercase();
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let fits = |user: &&Id| {
        let nick = guild.members.get(user).and_then(|member| member.nick.as_ref());
        let name = world.users.get(user).map(|user| &user.username);
        [nick, name].into_iter().flatten().any(|name| name.to_lowercase().starts_with(&begin))
    };
    let members = guild.members.keys().filter(fits).take(limit);
    ok(&members.map(|user| world.member_value(guild, *user)).collect::<Vec<_>>())
}

/// `GET /guilds/{guild.id}/members/{user.id}`.
pub async fn get(State(inner): State<Shared>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let user = known(&world, guild, id("user_id", &user)?)?;
    ok(&world.member_value(guild, user))
}

/// `PATCH /guilds/{guild.id}/members/{user.id}`; the bot itself may be named `@me`.
pub async fn edit(
    State(inner): State<Shared>,
    Path((guild, user)): Path<(String, String)>,
    Body(body): Body,
) -> Answer {
    let mut world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let user = if user == "@me" { APPLICATION } else { id("user_id", &user)? };
    let user = known(&world, guild, user)?;
    let mut member = guild.members.get(&user).cloned().ok_or(ApiError::UNKNOWN_MEMBER)?;
    change(guild, user, &mut member, &body)?;
    let guild = guild.id;
    world.guild_mut(guild)?.members.insert(user, member);
    inner.tell_member(&world, guild, user);
    ok(&world.member_value(world.guild(guild)?, user))
}

fn change(guild: &Guild, user: Id, member: &mut Member, body: &Value) -> Result<(), ApiError> {
    let empty = serde_json::Map::new();
    let map = body.as_object().unwrap_or(&empty);
    let mut problems = Problems::default();
    let mut fields = Fields::new(map, "", &mut problems);
    if map.contains_key("nick") {
        let own = user == APPLICATION;
        may(guild, if own { CHANGE_NICKNAME } else { MANAGE_NICKNAMES }, Some(user).filter(|_| !own))?;
        member.nick = fields.text("nick", MAX_NICK).filter(|nick| !nick.is_empty());
    }
    if map.contains_key("communication_disabled_until") {
        may(guild, MODERATE_MEMBERS, Some(user))?;
        member.timeout_until = fields.text("communication_disabled_until", 64);
    }
    if let Some(roles) = fields.list("roles", 250) {
        let roles: Vec<Id> = roles.iter().filter_map(read_id).collect();
        may(guild, MANAGE_ROLES, None)?;
        for role in roles.iter().chain(&member.roles) {
            let changed = roles.contains(role) != member.roles.contains(role);
            if changed {
                role_below_bot(guild, *role)?;
            }
        }
        member.roles = roles;
    }
    problems.finish()
}

/// `PUT /guilds/{guild.id}/members/{user.id}/roles/{role.id}`.
pub async fn add_role(State(inner): State<Shared>, Path(path): Path<(String, String, String)>) -> Answer {
    set_role(&inner, &path, true)
}

/// `DELETE /guilds/{guild.id}/members/{user.id}/roles/{role.id}`.
pub async fn take_role(State(inner): State<Shared>, Path(path): Path<(String, String, String)>) -> Answer {
    set_role(&inner, &path, false)
}

fn set_role(inner: &Shared, (guild, user, role): &(String, String, String), give: bool) -> Answer {
    let mut world = inner.world();
    let guild = world.guild(id("guild_id", guild)?)?;
    let user = known(&world, guild, id("user_id", user)?)?;
    let role = id("role_id", role)?;
    may(guild, MANAGE_ROLES, None)?;
    role_below_bot(guild, role)?;
    let guild = guild.id;
    if let Some(member) = world.guild_mut(guild)?.members.get_mut(&user) {
        member.roles.retain(|other| *other != role);
        if give {
            member.roles.push(role);
        }
    }
    inner.tell_member(&world, guild, user);
    no_content()
}

/// `DELETE /guilds/{guild.id}/members/{user.id}`.
pub async fn kick(State(inner): State<Shared>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let mut world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let user = known(&world, guild, id("user_id", &user)?)?;
    may(guild, KICK_MEMBERS, Some(user))?;
    let guild = guild.id;
    inner.member_leaves(&mut world, guild, user);
    no_content()
}

/// `GET /guilds/{guild.id}/bans`.
pub async fn bans(State(inner): State<Shared>, Path(guild): Path<String>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    may(guild, BAN_MEMBERS, None)?;
    ok(&guild.bans.iter().map(|(user, reason)| ban_value(&world, *user, reason)).collect::<Vec<_>>())
}

/// `GET /guilds/{guild.id}/bans/{user.id}`.
pub async fn banned(State(inner): State<Shared>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    may(guild, BAN_MEMBERS, None)?;
    let user = id("user_id", &user)?;
    let reason = guild.bans.get(&user).ok_or(ApiError::UNKNOWN_BAN)?;
    ok(&ban_value(&world, user, reason))
}

/// `PUT /guilds/{guild.id}/bans/{user.id}`.
pub async fn ban(State(inner): State<Shared>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let mut world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    let user = id("user_id", &user)?;
    if !world.users.contains_key(&user) {
        return Err(ApiError::UNKNOWN_USER);
    }
    may(guild, BAN_MEMBERS, Some(user))?;
    let (guild, was_member) = (guild.id, guild.members.contains_key(&user));
    world.guild_mut(guild)?.bans.insert(user, None);
    inner.tell_ban(&world, "GUILD_BAN_ADD", guild, user);
    if was_member {
        inner.member_leaves(&mut world, guild, user);
    }
    no_content()
}

/// `DELETE /guilds/{guild.id}/bans/{user.id}`.
pub async fn unban(State(inner): State<Shared>, Path((guild, user)): Path<(String, String)>) -> Answer {
    let mut world = inner.world();
    let guild = world.guild(id("guild_id", &guild)?)?;
    may(guild, BAN_MEMBERS, None)?;
    let (guild, user) = (guild.id, id("user_id", &user)?);
    world.guild_mut(guild)?.bans.remove(&user).ok_or(ApiError::UNKNOWN_BAN)?;
    inner.tell_ban(&world, "GUILD_BAN_REMOVE", guild, user);
    no_content()
}

impl Inner {
    /// Somebody leaves a guild, by themselves or not.
    pub fn member_leaves(&self, world: &mut World, guild: Id, user: Id) {
        if let Some(guild) = world.guilds.get_mut(&guild) {
            guild.members.remove(&user);
        }
        let data = json!({ "guild_id": guild, "user": world.users.get(&user).map(UserJson::new) });
        self.dispatch(&Event::new("GUILD_MEMBER_REMOVE", Some(guild), intents::GUILD_MEMBERS, &data));
    }

    fn tell_member(&self, world: &World, guild: Id, user: Id) {
        let Some(of) = world.guilds.get(&guild) else { return };
        let (Some(who), Some(member)) = (world.users.get(&user), of.members.get(&user)) else { return };
        let data = MemberJson::full(who, member).in_guild(guild);
        // Everybody hears of changes to themselves.
        let wanted = if user == APPLICATION { 0 } else { intents::GUILD_MEMBERS };
        self.dispatch(&Event::new("GUILD_MEMBER_UPDATE", Some(guild), wanted, &data));
    }

    fn tell_ban(&self, world: &World, name: &'static str, guild: Id, user: Id) {
        let data = json!({ "guild_id": guild, "user": world.users.get(&user).map(UserJson::new) });
        self.dispatch(&Event::new(name, Some(guild), intents::GUILD_MODERATION, &data));
    }
}

fn known(world: &World, guild: &Guild, user: Id) -> Result<Id, ApiError> {
    match (guild.members.contains_key(&user), world.users.contains_key(&user)) {
        (true, _) => Ok(user),
        (false, true) => Err(ApiError::UNKNOWN_MEMBER),
        (false, false) => Err(ApiError::UNKNOWN_USER),
    }
}

/// Whether the bot may, and stands above the one it acts on.
fn may(guild: &Guild, needed: u64, on: Option<Id>) -> Result<(), ApiError> {
    let allowed = guild.permissions_of(APPLICATION) & needed == needed;
    let above = on.is_none_or(|user| guild.rank(APPLICATION) > guild.rank(user));
    if allowed && above { Ok(()) } else { Err(ApiError::MISSING_PERMISSIONS) }
}

fn role_below_bot(guild: &Guild, role: Id) -> Result<(), ApiError> {
    let role = guild.role(role).ok_or(ApiError::UNKNOWN_ROLE)?;
    let free = role.id != guild.id && role.bot.is_none() && role.position < guild.rank(APPLICATION);
    if free { Ok(()) } else { Err(ApiError::MISSING_PERMISSIONS) }
}

fn ban_value(world: &World, user: Id, reason: &Option<String>) -> Value {
    json!({ "user": world.users.get(&user).map(UserJson::new), "reason": reason })
}
