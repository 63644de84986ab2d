//! What is there at the start: the demo guild with its channels and people, and the quiet guilds.
//! Ids are the same at every start, so that a bot finds its stored state fitting.

use std::collections::BTreeMap;

use super::{
    User, World,
    channel::{CATEGORY, Channel, TEXT},
    guild::{Guild, Member, Role},
};
use crate::{
    discord::{
        permissions::{BOT, EVERYONE, MODERATOR, Overwrite, SEND_MESSAGES, VIEW_CHANNEL},
        snowflake::Id,
    },
    people::Person,
};

/// 2024-01-01, when everything here was made.
const BEGIN_MS: u64 = 1_704_067_200_000;
/// Guilds are this far apart, so that their channels and roles fit between.
const GUILD_STEP_MS: u64 = 1;

/// The application, and its bot user.
pub const APPLICATION: Id = Id::at(BEGIN_MS - 86_400_000, 1);
/// "Vigie Harbour".
pub const DEMO_GUILD: Id = Id::at(BEGIN_MS, 0);
/// `#general`.
pub const GENERAL: Id = Id::at(BEGIN_MS, 10);
/// `#bots`.
pub const BOTS: Id = Id::at(BEGIN_MS, 11);
/// `#announcements`, where the bot may read but not write.
pub const ANNOUNCEMENTS: Id = Id::at(BEGIN_MS, 12);
/// `#staff`, which the bot cannot see.
pub const STAFF: Id = Id::at(BEGIN_MS, 13);
const CATEGORY_ID: Id = Id::at(BEGIN_MS, 14);
const MODERATORS: Id = Id::at(BEGIN_MS, 20);
const REGULARS: Id = Id::at(BEGIN_MS, 21);

/// The `n`th quiet guild, from 0.
const fn extra_guild(n: u64) -> Id {
    Id::at(BEGIN_MS + (n + 1) * GUILD_STEP_MS, 0)
}

/// The account that a person plays.
pub const fn user_id(person: Person) -> Id {
    let n = match person {
        Person::Olive => 1,
        Person::Max => 2,
        Person::Ines => 3,
        Person::Noor => 4,
    };
    Id::at(BEGIN_MS - 172_800_000, n)
}

/// Makes it all.
pub fn fill(world: &mut World, extra_guilds: usize) {
    let bot = User { id: APPLICATION, username: "Vigie".to_owned(), global_name: None, person: None };
    world.users.insert(bot.id, bot);
    for person in Person::ALL {
        let id = user_id(person);
        let name = person.name();
        let user = User {
            id,
            username: name.to_lowercase(),
            global_name: Some(name.to_owned()),
            person: Some(person),
        };
        world.users.insert(id, user);
    }
    demo_guild(world);
    for n in 0..extra_guilds as u64 {
        quiet_guild(world, n);
    }
}

fn demo_guild(world: &mut World) {
    let mut guild = guild(DEMO_GUILD, "Vigie Harbour");
    let role = |id, name: &str, permissions, position, color| Role {
        id,
        name: name.to_owned(),
        permissions,
        position,
        color,
        hoist: true,
        mentionable: false,
        bot: None,
    };
    guild.roles.push(role(REGULARS, "Regulars", 0, 1, 0x5a_7d_9a));
    guild.roles.push(role(MODERATORS, "Harbour Masters", MODERATOR, 3, 0x2f_8f_6f));
    if let Some(max) = guild.members.get_mut(&user_id(Person::Max)) {
        max.roles.push(MODERATORS);
    }

    let hide = Overwrite { id: DEMO_GUILD, kind: 0, allow: 0, deny: VIEW_CHANNEL };
    let show = Overwrite { id: MODERATORS, kind: 0, allow: VIEW_CHANNEL, deny: 0 };
    let hush = Overwrite { id: DEMO_GUILD, kind: 0, allow: 0, deny: SEND_MESSAGES };
    let category = Channel::in_guild(CATEGORY_ID, DEMO_GUILD, CATEGORY, "Harbour", 0);
    let rooms = [
        (GENERAL, "general", "Talk about anything", vec![]),
        (BOTS, "bots", "Try the bot here", vec![]),
        (ANNOUNCEMENTS, "announcements", "Read only", vec![hush]),
        (STAFF, "staff", "Hidden from the bot", vec![hide, show]),
    ];
    guild.channels = rooms.iter().map(|(id, ..)| *id).chain([CATEGORY_ID]).collect();
    for ((id, name, topic, overwrites), position) in rooms.into_iter().zip(0..) {
        let mut channel = Channel::in_guild(id, DEMO_GUILD, TEXT, name, position);
        channel.topic = Some(topic.to_owned());
        channel.parent = Some(CATEGORY_ID);
        channel.overwrites = overwrites;
        world.channels.insert(id, channel);
    }
    world.channels.insert(CATEGORY_ID, category);
    add(world, guild);
}

fn quiet_guild(world: &mut World, n: u64) {
    let id = extra_guild(n);
    let mut guild = guild(id, &format!("Quiet Harbour {}", n + 1));
    let channel = Id(id.0 + 10);
    guild.channels.push(channel);
    world.channels.insert(channel, Channel::in_guild(channel, id, TEXT, "general", 0));
    add(world, guild);
}

fn add(world: &mut World, guild: Guild) {
    world.guild_order.push(guild.id);
    world.guilds.insert(guild.id, guild);
}

/// A guild with `@everyone`, the bot's role, the people and the bot.
fn guild(id: Id, name: &str) -> Guild {
    let bot_role = Id(id.0 + 22);
    let everyone = Role {
        id,
        name: "@everyone".to_owned(),
        permissions: EVERYONE,
        position: 0,
        color: 0,
        hoist: false,
        mentionable: false,
        bot: None,
    };
    let role = Role {
        id: bot_role,
        name: "Vigie".to_owned(),
        permissions: BOT,
        position: 2,
        bot: Some(APPLICATION),
        ..everyone
    };
    let member =
        |roles| Member { roles, nick: None, joined_ms: id.created_ms() + 60_000, timeout_until: None };
    let mut members: BTreeMap<Id, Member> =
        Person::ALL.into_iter().map(|person| (user_id(person), member(Vec::new()))).collect();
    members.insert(APPLICATION, member(vec![bot_role]));
    Guild {
        id,
        name: name.to_owned(),
        owner: user_id(Person::Olive),
        roles: vec![everyone, role],
        members,
        channels: Vec::new(),
        bans: BTreeMap::new(),
    }
}
