//! USERNOTICE, CLEARCHAT and CLEARMSG lines.
//! Tags are those of real lines; source of their meaning: dev.twitch.tv/docs/irc/tags.

use super::{caps, channel::user_type, line::Shared, tags::Tags};
use crate::twitch::{
    people::{Account, Standing, badge_info_tag, badge_tag},
    post::{message_id, now_ms},
    world::Channel,
};

/// What a USERNOTICE is about.
#[derive(Clone, Debug)]
pub(crate) enum About<'a> {
    Sub,
    Resub { months: u16 },
    SubGift { to: &'a Account, gifted: u32, origin: &'a str },
    SubMysteryGift { count: u32, gifted: u32, origin: &'a str },
    Raid { viewers: u32 },
    Announcement { color: &'a str },
}

impl About<'_> {
    fn id(&self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Resub { .. } => "resub",
            Self::SubGift { .. } => "subgift",
            Self::SubMysteryGift { .. } => "submysterygift",
            Self::Raid { .. } => "raid",
            Self::Announcement { .. } => "announcement",
        }
    }

    /// The words of `system-msg`, which are also what the chat page shows.
    pub(crate) fn words(&self, who: &str, channel: &str) -> String {
        match self {
            Self::Sub => format!("{who} subscribed at Tier 1."),
            Self::Resub { months } => {
                format!("{who} subscribed at Tier 1. They've subscribed for {months} months!")
            }
            Self::SubGift { to, .. } => format!("{who} gifted a Tier 1 sub to {}!", to.name),
            Self::SubMysteryGift { count, gifted, .. } => format!(
                "{who} is gifting {count} Tier 1 Subs to {channel}'s community! They've gifted a total of \
                 {gifted} in the channel!"
            ),
            Self::Raid { viewers } => format!("{viewers} raiders from {who} have joined!"),
            Self::Announcement { .. } => String::new(),
        }
    }

    fn params(&self, tags: Tags, channel: &str, account: &Account) -> Tags {
        let plan = format!("Channel Subscription ({channel})");
        match self {
            Self::Sub => tags
                .plain("msg-param-cumulative-months", 1)
                .plain("msg-param-months", 0)
                .plain("msg-param-multimonth-duration", 1)
                .plain("msg-param-multimonth-tenure", 0)
                .plain("msg-param-should-share-streak", 0)
                .text("msg-param-sub-plan-name", &plan)
                .plain("msg-param-sub-plan", 1000)
                .plain("msg-param-was-gifted", false),
            Self::Resub { months } => tags
                .plain("msg-param-cumulative-months", months)
                .plain("msg-param-months", 0)
                .plain("msg-param-multimonth-duration", 0)
                .plain("msg-param-multimonth-tenure", 0)
                .plain("msg-param-should-share-streak", 0)
                .text("msg-param-sub-plan-name", &plan)
                .plain("msg-param-sub-plan", 1000)
                .plain("msg-param-was-gifted", false),
            Self::SubGift { to, gifted, origin } => tags
                .plain("msg-param-gift-months", 1)
                .plain("msg-param-months", to.months.saturating_add(1))
                .text("msg-param-origin-id", origin)
                .text("msg-param-recipient-display-name", &to.name)
                .plain("msg-param-recipient-id", &to.id)
                .plain("msg-param-recipient-user-name", &to.login)
                .plain("msg-param-sender-count", gifted)
                .text("msg-param-sub-plan-name", &plan)
                .plain("msg-param-sub-plan", 1000),
            Self::SubMysteryGift { count, gifted, origin } => tags
                .plain("msg-param-mass-gift-count", count)
                .text("msg-param-origin-id", origin)
                .plain("msg-param-sender-count", gifted)
                .plain("msg-param-sub-plan", 1000),
            Self::Raid { viewers } => tags
                .text("msg-param-displayName", &account.name)
                .plain("msg-param-login", &account.login)
                .plain(
                    "msg-param-profileImageURL",
                    "https://static-cdn.jtvnw.net/jtv_user_pictures/raider-profile_image-70x70.png",
                )
                .plain("msg-param-viewerCount", viewers),
            Self::Announcement { color } => tags.plain("msg-param-color", color),
        }
    }
}

/// A USERNOTICE, and its id. `text` is what the person wrote with it.
pub(crate) fn user_notice(
    channel: &Channel,
    account: &Account,
    standing: Standing,
    about: &About<'_>,
    text: &str,
) -> (Shared, String) {
    let id = message_id();
    let badges = account.badges(standing, false);
    let subscriber = account.months > 0 || matches!(about, About::Sub | About::Resub { .. });
    let tags = Tags::new()
        .text("badge-info", &badge_info_tag(&badges))
        .text("badges", &badge_tag(&badges))
        .plain("color", account.color)
        .text("display-name", &account.name)
        .plain("emotes", "")
        .plain("flags", "")
        .plain("id", &id)
        .plain("login", &account.login)
        .flag("mod", standing.is_moderator())
        .plain("msg-id", about.id());
    let tags = about
        .params(tags, &channel.login, account)
        .plain("room-id", &channel.owner.id)
        .flag("subscriber", subscriber)
        .text("system-msg", &about.words(&account.name, &channel.owner.name))
        .plain("tmi-sent-ts", now_ms())
        .plain("user-id", &account.id)
        .plain("user-type", user_type(standing))
        .flag("vip", standing == Standing::Vip);
    let rest = match text {
        "" => format!(":tmi.twitch.tv USERNOTICE #{}", channel.login),
        text => format!(":tmi.twitch.tv USERNOTICE #{} :{text}", channel.login),
    };
    (Shared::new(&tags, &rest, caps::COMMANDS), id)
}

/// CLEARCHAT: all of the chat, or all that one account said.
pub(crate) fn clear_chat(channel: &Channel, target: Option<(&Account, Option<u64>)>) -> Shared {
    let mut tags = Tags::new();
    if let Some((_, Some(seconds))) = target {
        tags = tags.plain("ban-duration", seconds);
    }
    tags = tags.plain("room-id", &channel.owner.id);
    if let Some((account, _)) = target {
        tags = tags.plain("target-user-id", &account.id);
    }
    tags = tags.plain("tmi-sent-ts", now_ms());
    let rest = match target {
        Some((account, _)) => format!(":tmi.twitch.tv CLEARCHAT #{} :{}", channel.login, account.login),
        None => format!(":tmi.twitch.tv CLEARCHAT #{}", channel.login),
    };
    Shared::new(&tags, &rest, caps::COMMANDS)
}

/// CLEARMSG: one message. `room-id` is empty, as in the lines that Twitch sends.
pub(crate) fn clear_message(channel: &Channel, author: &Account, id: &str, text: &str) -> Shared {
    let tags = Tags::new()
        .plain("login", &author.login)
        .plain("room-id", "")
        .plain("target-msg-id", id)
        .plain("tmi-sent-ts", now_ms());
    Shared::new(&tags, &format!(":tmi.twitch.tv CLEARMSG #{} :{text}", channel.login), caps::COMMANDS)
}
