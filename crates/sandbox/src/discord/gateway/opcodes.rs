//! What each opcode of a client does.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Start,
    connection::{Connection, End},
    intents::{GUILD_MEMBERS, GUILD_PRESENCES, GUILDS, KNOWN},
    payloads::{Identify, Incoming, RequestMembers, Resume, bare},
    session::{NotResumed, Session},
};
use crate::discord::{
    options::ALL_PRIVILEGED,
    payload::guild::partial_application,
    snowflake::Id,
    world::{World, guild::Guild},
};

/// The most guilds one shard may have.
const MAX_GUILDS_PER_SHARD: usize = 2500;
/// The most shards there can be.
const MAX_SHARDS: u32 = 4096;
/// Members in one chunk.
const CHUNK: usize = 1000;
/// A guild's whole member list can be asked for this often.
const MEMBER_REQUEST_WINDOW: Duration = Duration::from_secs(30);

impl Connection {
    /// Does what a payload asks for.
    pub(super) async fn handle(&mut self, incoming: Incoming) -> Result<(), End> {
        match (incoming.op, self.session.is_some()) {
            (1, _) => self.heartbeat().await,
            (2, false) => self.identify(decode(incoming.d)?).await,
            (6, false) => self.resume(decode(incoming.d)?).await,
            (2 | 6, true) => Err(End::Close(4005)),
            (3 | 4 | 8 | 31 | 43, false) => Err(End::Close(4003)),
            (3, true) => self.ignore(&incoming.d, "presence"),
            (4, true) => self.ignore(&incoming.d, "voice"),
            (8, true) => self.request_members(&decode(incoming.d)?),
            // Soundboards and voice channels: there are none.
            (31 | 43, true) => self.ignore(&incoming.d, "other"),
            _ => Err(End::Close(4001)),
        }
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        self.inner.counters.add("discord.gateway.heartbeat");
        self.extend_deadline();
        if self.inner.faults.get().mute_heartbeat_acks {
            return Ok(());
        }
        self.send(bare(11, "null")).await
    }

    fn ignore(&self, data: &Value, what: &str) -> Result<(), End> {
        if !data.is_object() {
            return Err(End::Close(4002));
        }
        self.inner.counters.add(&format!("discord.gateway.{what}"));
        Ok(())
    }

    async fn identify(&mut self, identify: Identify) -> Result<(), End> {
        let inner = self.inner.clone();
        inner.counters.add("discord.gateway.identify");
        if let Some(code) = inner.faults.get().refuse_identify {
            return Err(End::Close(code));
        }
        if !inner.token_is_good(&identify.token) {
            return Err(End::Close(4004));
        }
        let shard = identify.shard.unwrap_or((0, 1));
        if shard.0 >= shard.1 || shard.1 > MAX_SHARDS {
            return Err(End::Close(4010));
        }
        if identify.intents & !KNOWN != 0 {
            return Err(End::Close(4013));
        }
        if identify.intents & ALL_PRIVILEGED & !inner.options.privileged_intents != 0 {
            return Err(End::Close(4014));
        }
        match inner.hub.start(&inner.options, shard.0) {
            Start::Granted => {}
            Start::TooSoon => {
                inner.counters.add("discord.gateway.identify_limited");
                return self.send(bare(9, "false")).await;
            }
            Start::UsedUp => {
                inner.reset_token();
                return Err(End::Close(4004));
            }
        }
        self.begin_session(shard, identify.intents)?;
        self.extend_deadline();
        Ok(())
    }

    /// READY, then a GUILD_CREATE for each guild of the shard; no event can come in between.
    fn begin_session(&mut self, shard: (u32, u32), intents: u64) -> Result<(), End> {
        let inner = self.inner.clone();
        let world = inner.world();
        let guilds: Vec<&Guild> = world
            .guild_order
            .iter()
            .filter(|id| id.shard_of(shard.1) == shard.0)
            .filter_map(|id| world.guilds.get(id))
            .collect();
        if guilds.len() > MAX_GUILDS_PER_SHARD {
            return Err(End::Close(4011));
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let connection = (self.id, self.wake.clone());
        let session = Arc::new(Session::new(id, shard, intents, guilds.len(), connection));
        let push = |name: &'static str, data: &Value| {
            inner.counters.add(&format!("discord.gateway.dispatch.{name}"));
            session.push(Cow::Borrowed(name), data.to_string().into());
        };
        push("READY", &ready(&world, &guilds, &session, &inner.gateway_url()));
        if intents & GUILDS != 0 {
            let all_members = intents & GUILD_PRESENCES != 0;
            for guild in guilds {
                push("GUILD_CREATE", &world.guild_create(guild, all_members));
            }
        }
        let online = inner.hub.online();
        inner.hub.add(session.clone(), inner.options.session_grace);
        drop(world);
        self.session = Some(session);
        inner.counters.add("discord.gateway.ready");
        inner.show_presence(online);
        Ok(())
    }

    async fn resume(&mut self, resume: Resume) -> Result<(), End> {
        let inner = self.inner.clone();
        inner.counters.add("discord.gateway.resume");
        if let Some(code) = inner.faults.get().refuse_resume {
            return Err(End::Close(code));
        }
        if !inner.token_is_good(&resume.token) {
            return Err(End::Close(4004));
        }
        let online = inner.hub.online();
        let grace = inner.options.session_grace;
        let resumed = inner.hub.session(&resume.session_id).ok_or(NotResumed::Gone).and_then(|session| {
            session.resume(resume.seq, (self.id, self.wake.clone()), grace).map(|n| (session, n))
        });
        let (session, missed) = match resumed {
            Ok(resumed) => resumed,
            Err(NotResumed::BadSequence) => return Err(End::Close(4007)),
            Err(NotResumed::Gone) => {
                inner.counters.add("discord.gateway.resume_refused");
                return self.send(bare(9, "false")).await;
            }
        };
        inner.counters.add_many("discord.gateway.resumed_replayed", missed);
        inner.counters.add("discord.gateway.dispatch.RESUMED");
        session.push(Cow::Borrowed("RESUMED"), r#"{"_trace":["[\"sandbox\",{}]"]}"#.into());
        self.session = Some(session);
        self.extend_deadline();
        inner.show_presence(online);
        Ok(())
    }

    fn request_members(&mut self, request: &RequestMembers) -> Result<(), End> {
        let inner = self.inner.clone();
        inner.counters.add("discord.gateway.request_members");
        let Some(session) = self.session.clone() else { return Err(End::Close(4003)) };
        // Discord takes one id or a list with one id.
        let guild = ids(&request.guild_id).first().copied().ok_or(End::Close(4002))?;
        let whole = request.query.as_deref() == Some("") && request.limit == 0;
        if whole && session.intents & GUILD_MEMBERS == 0 {
            return Err(End::Close(4014));
        }
        let world = inner.world();
        let Some(guild) = world.guilds.get(&guild) else { return Ok(()) };
        if whole && let Some(asked) = self.member_requests.insert(guild.id.0, Instant::now()) {
            let wait = MEMBER_REQUEST_WINDOW.saturating_sub(asked.elapsed());
            if !wait.is_zero() {
                self.member_requests.insert(guild.id.0, asked);
                let meta = json!({ "guild_id": guild.id, "nonce": request.nonce });
                let data = json!({ "opcode": 8, "retry_after": wait.as_secs_f64(), "meta": meta });
                session.push(Cow::Borrowed("RATE_LIMITED"), data.to_string().into());
                return Ok(());
            }
        }
        for chunk in chunks(&world, guild, request) {
            session.push(Cow::Borrowed("GUILD_MEMBERS_CHUNK"), chunk.to_string().into());
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(data: Value) -> Result<T, End> {
    serde_json::from_value(data).map_err(|_| End::Close(4002))
}

fn ids(value: &Value) -> Vec<Id> {
    let one = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().map(Id),
        _ => None,
    };
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    }
}

fn ready(world: &World, guilds: &[&Guild], session: &Session, gateway: &str) -> Value {
    let guilds: Vec<_> = guilds.iter().map(|guild| json!({ "id": guild.id, "unavailable": true })).collect();
    json!({
        "v": 10, "user": world.current_user(), "guilds": guilds, "session_id": session.id,
        "resume_gateway_url": gateway, "shard": session.shard, "application": partial_application(),
        "session_type": "normal", "user_settings": {}, "relationships": [], "private_channels": [],
        "presences": [], "guild_join_requests": [], "game_relationships": [], "auth": {},
        "geo_ordered_rtc_regions": [], "_trace": ["[\"sandbox\",{}]"],
    })
}

/// The members that were asked for, in chunks; at least one chunk, even when it is empty.
fn chunks(world: &World, guild: &Guild, request: &RequestMembers) -> Vec<Value> {
    let wanted = request.user_ids.as_ref().map(ids);
    let prefix = request.query.as_deref().unwrap_or_default().to_lowercase();
    let named = |id: &Id| match world.users.get(id) {
        Some(user) => user.username.to_lowercase().starts_with(&prefix),
        None => false,
    };
    let found: Vec<Id> = match &wanted {
        Some(wanted) => wanted.iter().filter(|id| guild.members.contains_key(id)).copied().collect(),
        None => guild.members.keys().filter(|id| named(id)).copied().collect(),
    };
    let limit =
        if request.limit == 0 { usize::MAX } else { usize::try_from(request.limit).unwrap_or(usize::MAX) };
    let found: Vec<Id> = found.into_iter().take(limit).collect();
    let missing: Vec<Id> =
        wanted.unwrap_or_default().into_iter().filter(|id| !guild.members.contains_key(id)).collect();
    let count = found.len().div_ceil(CHUNK).max(1);
    (0..count)
        .map(|index| {
            let members = found.iter().skip(index * CHUNK).take(CHUNK);
            let mut chunk = json!({
                "guild_id": guild.id, "chunk_index": index, "chunk_count": count, "not_found": missing,
                "members": members.map(|id| world.member_value(guild, *id)).collect::<Vec<_>>(),
            });
            if request.presences {
                chunk["presences"] = json!([]);
            }
            // Longer ones are ignored, as documented.
            if let Some(nonce) = request.nonce.as_ref().filter(|nonce| nonce.len() <= 32) {
                chunk["nonce"] = json!(nonce);
            }
            chunk
        })
        .collect()
}
