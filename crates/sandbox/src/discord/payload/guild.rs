//! Guilds, roles, channels and the bot's own account on the wire. None of these is sent often.

use serde_json::{Map, Value, json};

use super::{MemberJson, UserJson};
use crate::discord::{
    permissions::Overwrite,
    snowflake::{Id, Timestamp},
    world::{
        APPLICATION, World,
        channel::{Channel, DM, TEXT},
        guild::{Guild, Role},
    },
};

/// `flags` of an application with message content, members and presences granted, up to 10,000 users.
const APPLICATION_FLAGS: u64 = (1 << 13) | (1 << 15) | (1 << 19) | (1 << 23);

/// A role.
pub fn role(role: &Role) -> Value {
    let mut json = json!({
        "id": role.id, "name": role.name, "permissions": role.permissions.to_string(),
        "position": role.position, "color": role.color, "hoist": role.hoist,
        "colors": { "primary_color": role.color, "secondary_color": null, "tertiary_color": null },
        "managed": role.bot.is_some(), "mentionable": role.mentionable,
        "icon": null, "unicode_emoji": null, "flags": 0,
    });
    if let Some(bot) = role.bot {
        json["tags"] = json!({ "bot_id": bot });
    }
    json
}

impl World {
    /// A channel. `in_guild_create` leaves the guild id out, as GUILD_CREATE does.
    pub fn channel_value(&self, channel: &Channel, in_guild_create: bool) -> Value {
        if channel.kind == DM {
            let recipient = channel.recipient.and_then(|id| self.users.get(&id)).map(UserJson::new);
            return json!({
                "id": channel.id, "type": DM, "last_message_id": channel.last_message, "flags": 0,
                "recipients": recipient.into_iter().collect::<Vec<_>>(),
            });
        }
        let overwrite = |o: &Overwrite| json!({ "id": o.id, "type": o.kind, "allow": o.allow.to_string(), "deny": o.deny.to_string() });
        let mut json = json!({
            "id": channel.id, "type": channel.kind, "name": channel.name, "position": channel.position,
            "parent_id": channel.parent, "flags": 0,
            "permission_overwrites": channel.overwrites.iter().map(overwrite).collect::<Vec<_>>(),
        });
        if channel.kind == TEXT {
            json["topic"] = json!(channel.topic);
            json["nsfw"] = json!(false);
            json["rate_limit_per_user"] = json!(0);
            json["last_message_id"] = json!(channel.last_message);
            json["last_pin_timestamp"] = Value::Null;
        }
        if !in_guild_create {
            json["guild_id"] = json!(channel.guild);
        }
        json
    }

    /// A member with its user; null when there is none.
    pub fn member_value(&self, guild: &Guild, user: Id) -> Value {
        match (self.users.get(&user), guild.members.get(&user)) {
            (Some(user), Some(member)) => json!(MemberJson::full(user, member)),
            _ => Value::Null,
        }
    }

    /// A guild, as the REST API shows it.
    pub fn guild_value(&self, guild: &Guild, with_counts: bool) -> Value {
        let mut json = guild_fields(guild);
        if with_counts {
            json.insert("approximate_member_count".to_owned(), json!(guild.members.len()));
            json.insert("approximate_presence_count".to_owned(), json!(guild.members.len()));
        }
        Value::Object(json)
    }

    /// GUILD_CREATE; without the presence intent the bot itself is the only member in it.
    pub fn guild_create(&self, guild: &Guild, all_members: bool) -> Value {
        let channels = guild.channels.iter().filter_map(|id| self.channels.get(id));
        let members = guild.members.keys().filter(|user| all_members || **user == APPLICATION);
        let mut json = guild_fields(guild);
        let more = json!({
            "joined_at": guild.members.get(&APPLICATION).map(|bot| Timestamp(bot.joined_ms)),
            "large": false, "unavailable": false, "member_count": guild.members.len(),
            "channels": channels.map(|channel| self.channel_value(channel, true)).collect::<Vec<_>>(),
            "members": members.map(|user| self.member_value(guild, *user)).collect::<Vec<_>>(),
            "threads": [], "presences": [], "voice_states": [], "stage_instances": [],
            "guild_scheduled_events": [], "soundboard_sounds": [],
        });
        if let Value::Object(more) = more {
            json.extend(more);
        }
        Value::Object(json)
    }

    /// The bot, as it sees itself.
    pub fn current_user(&self) -> Value {
        let mut json = self.users.get(&APPLICATION).map(|bot| json!(UserJson::new(bot))).unwrap_or_default();
        json["verified"] = json!(true);
        json["mfa_enabled"] = json!(false);
        json["email"] = Value::Null;
        json["locale"] = json!("en-US");
        json["flags"] = json!(0);
        json["premium_type"] = json!(0);
        json
    }

    /// The application with its owner.
    pub fn application(&self) -> Value {
        let owner = self.users.values().find(|user| user.person == Some(crate::people::Person::Olive));
        let bot = self.users.get(&APPLICATION).map(UserJson::new);
        json!({
            "id": APPLICATION, "name": "Vigie", "icon": null, "type": null,
            "description": "", "summary": "", "bot": bot, "bot_public": false,
            "bot_require_code_grant": false, "is_monetized": false, "hook": true,
            "verify_key": "0".repeat(64), "flags": APPLICATION_FLAGS, "flags_new": APPLICATION_FLAGS.to_string(),
            "owner": owner.map(UserJson::new), "team": null, "tags": [], "rpc_origins": [],
            "redirect_uris": [], "interactions_endpoint_url": null,
            "role_connections_verification_url": null, "explicit_content_filter": 0,
            "approximate_guild_count": self.guilds.len(), "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0, "eligible_oauth2_scopes": [],
            "integration_types_config": { "0": {} }, "event_webhooks_status": 1,
            "storefront_available": false,
        })
    }
}

/// What READY says about the application.
pub fn partial_application() -> Value {
    json!({ "id": APPLICATION, "flags": APPLICATION_FLAGS })
}

fn guild_fields(guild: &Guild) -> Map<String, Value> {
    let own = json!({
        "id": guild.id, "name": guild.name, "owner_id": guild.owner, "features": [], "emojis": [],
        "stickers": [], "roles": guild.roles.iter().map(role).collect::<Vec<_>>(),
        "region": "deprecated", "afk_timeout": 300, "system_channel_flags": 0, "widget_enabled": false,
        "verification_level": 0, "default_message_notifications": 0, "mfa_level": 0,
        "explicit_content_filter": 0, "max_members": 500_000, "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25, "premium_tier": 0, "premium_subscription_count": 0,
        "preferred_locale": "en-US", "premium_progress_bar_enabled": false, "nsfw": false, "nsfw_level": 0,
    });
    let mut map = match own {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    // What no guild here has is null, not missing.
    let nulls = [
        "icon",
        "description",
        "home_header",
        "splash",
        "discovery_splash",
        "banner",
        "application_id",
        "afk_channel_id",
        "system_channel_id",
        "widget_channel_id",
        "max_presences",
        "vanity_url_code",
        "rules_channel_id",
        "safety_alerts_channel_id",
        "public_updates_channel_id",
        "incidents_data",
    ];
    map.extend(nulls.into_iter().map(|name| (name.to_owned(), Value::Null)));
    map
}
