//! The subscription types that the sandbox delivers, with the condition and the scope of each.
//! Source: dev.twitch.tv/docs/eventsub/eventsub-subscription-types.

/// A subscription type.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Keys of which at least one has to be in the condition.
    pub(crate) about: &'static [&'static str],
    /// Key that has to be the user of the token, if any.
    pub(crate) user: Option<&'static str>,
    /// Scope the token needs, if any.
    pub(crate) scope: Option<&'static str>,
}

const BROADCASTER: &[&str] = &["broadcaster_user_id"];
const RAID: &[&str] = &["to_broadcaster_user_id", "from_broadcaster_user_id"];
const CHAT: Option<&str> = Some("user:read:chat");
const SUBSCRIPTIONS: Option<&str> = Some("channel:read:subscriptions");

/// Every type there is.
pub(crate) const KINDS: [Kind; 12] = [
    chat("channel.chat.message"),
    chat("channel.chat.notification"),
    chat("channel.chat.clear"),
    chat("channel.chat.clear_user_messages"),
    chat("channel.chat.message_delete"),
    Kind {
        name: "channel.follow",
        version: "2",
        about: BROADCASTER,
        user: Some("moderator_user_id"),
        scope: Some("moderator:read:followers"),
    },
    Kind { name: "channel.raid", version: "1", about: RAID, user: None, scope: None },
    subscriptions("channel.subscribe"),
    subscriptions("channel.subscription.gift"),
    subscriptions("channel.subscription.message"),
    Kind { name: "stream.online", version: "1", about: BROADCASTER, user: None, scope: None },
    Kind { name: "stream.offline", version: "1", about: BROADCASTER, user: None, scope: None },
];

/// The type of this name and version.
pub(crate) fn find(name: &str, version: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name && kind.version == version)
}

const fn chat(name: &'static str) -> Kind {
    Kind { name, version: "1", about: BROADCASTER, user: Some("user_id"), scope: CHAT }
}

const fn subscriptions(name: &'static str) -> Kind {
    // The broadcaster is the one who reads these, so the condition has to be the token's user.
    Kind { name, version: "1", about: BROADCASTER, user: Some("broadcaster_user_id"), scope: SUBSCRIPTIONS }
}
