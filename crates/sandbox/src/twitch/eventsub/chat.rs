//! The event of a chat message.
//! Source: EventSub reference, "Channel Chat Message Event".

use serde_json::{Value, json};

use crate::twitch::{
    people::Badge,
    post::Post,
    world::{Channel, Message},
};

/// What a subscription to `channel.chat.message` is delivered.
pub(crate) fn event(
    channel: &Channel,
    post: &Post<'_>,
    id: &str,
    parent: Option<&Message>,
    badges: &[Badge],
    wire_text: &str,
) -> Value {
    let badges: Vec<Value> = badges
        .iter()
        .map(|badge| json!({"set_id": badge.set, "id": badge.version, "info": badge.info}))
        .collect();
    let reply = parent.map(|parent| {
        let thread = parent.thread.as_ref();
        let (thread_id, thread_author) =
            thread.map_or((&parent.id, &parent.author), |(id, author)| (id, author));
        json!({
            "parent_message_id": parent.id,
            "parent_message_body": &*parent.text,
            "parent_user_id": parent.author.id,
            "parent_user_name": parent.author.name,
            "parent_user_login": parent.author.login,
            "thread_message_id": thread_id,
            "thread_user_id": thread_author.id,
            "thread_user_name": thread_author.name,
            "thread_user_login": thread_author.login,
        })
    });
    json!({
        "broadcaster_user_id": channel.owner.id,
        "broadcaster_user_login": channel.owner.login,
        "broadcaster_user_name": channel.owner.name,
        "source_broadcaster_user_id": null,
        "source_broadcaster_user_login": null,
        "source_broadcaster_user_name": null,
        "chatter_user_id": post.author.id,
        "chatter_user_login": post.author.login,
        "chatter_user_name": post.author.name,
        "message_id": id,
        "source_message_id": null,
        "is_source_only": null,
        "message": {"text": wire_text, "fragments": [
            {"type": "text", "text": wire_text, "cheermote": null, "emote": null, "mention": null},
        ]},
        "color": post.author.color,
        "badges": badges,
        "source_badges": null,
        "message_type": "text",
        "cheer": null,
        "reply": reply,
        "channel_points_custom_reward_id": null,
        "channel_points_animation_id": null,
    })
}
