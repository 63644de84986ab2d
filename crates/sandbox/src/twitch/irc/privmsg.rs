//! The PRIVMSG line of a chat message, with all its tags.

use super::{
    channel::{mask, user_type},
    line::Shared,
    tags::Tags,
};
use crate::twitch::{
    people::{Badge, Standing, badge_info_tag, badge_tag},
    post::Post,
    world::{Channel, Message},
};

/// A few of the emotes that everybody has, with their ids.
const EMOTES: [(&str, &str); 6] = [
    ("Kappa", "25"),
    ("Keepo", "1902"),
    ("Kreygasm", "41"),
    ("LUL", "425618"),
    ("HeyGuys", "30259"),
    ("SeemsGood", "64138"),
];

/// The line that everybody in the channel gets.
pub(crate) fn privmsg(
    channel: &Channel,
    post: &Post<'_>,
    id: &str,
    at_ms: u64,
    parent: Option<&Message>,
    badges: &[Badge],
    wire_text: &str,
) -> Shared {
    let mut tags = Tags::new().text("badge-info", &badge_info_tag(badges)).text("badges", &badge_tag(badges));
    if !post.nonce.is_empty() {
        tags = tags.text("client-nonce", post.nonce);
    }
    tags = tags
        .plain("color", post.author.color)
        .text("display-name", &post.author.name)
        .plain("emotes", emotes(wire_text))
        .plain("first-msg", 0)
        .plain("flags", "")
        .plain("id", id)
        .flag("mod", post.standing.is_moderator());
    if let Some(parent) = parent {
        let thread = parent.thread.as_ref();
        let (thread_id, thread_author) =
            thread.map_or((&parent.id, &parent.author), |(id, author)| (id, author));
        tags = tags
            .text("reply-parent-display-name", &parent.author.name)
            .text("reply-parent-msg-body", &parent.text)
            .plain("reply-parent-msg-id", &parent.id)
            .plain("reply-parent-user-id", &parent.author.id)
            .plain("reply-parent-user-login", &parent.author.login)
            .text("reply-thread-parent-display-name", &thread_author.name)
            .plain("reply-thread-parent-msg-id", thread_id)
            .plain("reply-thread-parent-user-id", &thread_author.id)
            .plain("reply-thread-parent-user-login", &thread_author.login);
    }
    tags = tags
        .plain("returning-chatter", 0)
        .plain("room-id", &channel.owner.id)
        .flag("subscriber", post.author.months > 0)
        .plain("tmi-sent-ts", at_ms)
        .plain("turbo", 0)
        .plain("user-id", &post.author.id)
        .plain("user-type", user_type(post.standing));
    if post.standing == Standing::Vip {
        tags = tags.plain("vip", 1);
    }
    let (head, login) = (mask(&post.author), &channel.login);
    let rest = if post.action {
        format!(":{head} PRIVMSG #{login} :\u{1}ACTION {wire_text}\u{1}")
    } else {
        format!(":{head} PRIVMSG #{login} :{wire_text}")
    };
    Shared::new(&tags, &rest, 0)
}

/// The `emotes` tag: ids with the places of their words, in characters.
fn emotes(text: &str) -> String {
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    let mut at = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if let Some((_, id)) = EMOTES.iter().find(|(name, _)| *name == word) {
            let place = format!("{at}-{}", at + length - 1);
            match found.iter_mut().find(|(known, _)| known == id) {
                Some((_, places)) => places.push(place),
                None => found.push((id, vec![place])),
            }
        }
        at += length + 1;
    }
    let each = found.iter().map(|(id, places)| format!("{id}:{}", places.join(",")));
    each.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_emotes_by_character() {
        assert_eq!(emotes("é Kappa LUL Kappa"), "25:2-6,12-16/425618:8-10");
        assert_eq!(emotes("nothing"), "");
    }
}
