//! What the bot says, made fit for a Twitch chat: one line, no command, at most 500 characters.
//!
//! Every text is hostile here, because a command may repeat what a viewer wrote.

use protocol::Content;
use unicode_segmentation::UnicodeSegmentation as _;

/// Longest message Twitch takes, in characters (<https://dev.twitch.tv/docs/api/reference/#send-chat-message>).
pub const MAX_CHARS: usize = 500;
/// Longest part that is sent: a reply gets `@name ` put in front, where a name has up to 25 characters.
pub const PART_CHARS: usize = 460;
/// Most messages that one answer becomes.
pub const MAX_PARTS: usize = 3;
/// Stands before a `/` or `.`, which would otherwise start a chat command. Twitch trims spaces, so
/// a space would not do.
const HARMLESS: char = '\u{200B}';
/// Makes a repeated message another one without being seen: Twitch drops a message that equals the
/// one before it.
const DIFFERENCE: &str = " \u{E0000}";

/// The messages that show a content: none when it has nothing to show.
#[must_use]
pub fn render(content: &Content) -> Vec<String> {
    split(&one_line(&flatten(content)), PART_CHARS, MAX_PARTS)
}

/// Text and card on one line: `text · title: body · name: value · footer`. Buttons are left out.
#[must_use]
pub fn flatten(content: &Content) -> String {
    let mut pieces = vec![content.text.trim().to_owned()];
    if let Some(card) = &content.card {
        pieces.push(labelled(&card.title, &card.body));
        pieces.extend(card.fields.iter().map(|field| labelled(&field.name, &field.value)));
        pieces.push(card.footer.trim().to_owned());
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces.join(" · ")
}

/// The same text with another invisible end, which Twitch's duplicate rule does not take for a
/// repetition.
#[must_use]
pub fn differing(text: &str) -> String {
    format!("{text}{DIFFERENCE}")
}

/// The text without the invisible ends that chat clients append for the same reason.
#[must_use]
pub fn without_difference(text: &str) -> &str {
    text.trim_end_matches([' ', '\u{E0000}', '\u{34F}', '\u{200B}'])
}

fn labelled(label: &str, value: &str) -> String {
    let (label, value) = (label.trim(), value.trim());
    match (label.is_empty(), value.is_empty()) {
        (true, _) => value.to_owned(),
        (_, true) => label.to_owned(),
        _ => format!("{label}: {value}"),
    }
}

/// Control characters and runs of white space become one space each.
fn one_line(text: &str) -> String {
    let spaced = text.replace(char::is_control, " ");
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn split(text: &str, limit: usize, most: usize) -> Vec<String> {
    // One character is kept for what makes the part harmless.
    let room = limit - 1;
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest.chars().count() <= room {
            parts.push(harmless(rest));
            break;
        }
        if parts.len() + 1 == most {
            let (head, _) = cut(rest, room - 1);
            parts.push(harmless(&format!("{head}…")));
            break;
        }
        let (head, tail) = cut(rest, room);
        parts.push(harmless(head));
        rest = tail;
    }
    parts
}

/// Cuts after at most `room` characters: at a space when one is in the second half, else between two
/// graphemes, else (a grapheme longer than the room) between two characters.
fn cut(text: &str, room: usize) -> (&str, &str) {
    let mut end = 0;
    let mut chars = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        chars += grapheme.chars().count();
        if chars > room {
            break;
        }
        end = at + grapheme.len();
    }
    if end == 0 {
        end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
    }
    let (head, tail) = text.split_at(end);
    let at_word = match head.rfind(' ') {
        _ if tail.is_empty() || tail.starts_with(' ') => end,
        Some(space) if head[..space].chars().count() * 2 >= room => space,
        _ => end,
    };
    let (head, tail) = text.split_at(at_word);
    (head.trim_end(), tail.trim_start())
}

fn harmless(part: &str) -> String {
    if part.starts_with(['/', '.']) { format!("{HARMLESS}{part}") } else { part.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::{Button, Card, CardField};

    use super::*;

    #[test]
    fn a_card_becomes_one_line_without_buttons() {
        let field =
            |name: &str, value: &str| CardField { name: name.into(), value: value.into(), inline: true };
        let content = Content {
            text: "hello\r\nJOIN #evil".into(),
            card: Some(Card {
                title: "About".into(),
                body: "a bot".into(),
                fields: vec![field("version", "1"), field("", "alone"), field("empty", "")],
                footer: "end".into(),
            }),
            buttons: vec![Button { id: "x:y".into(), label: "press".into(), style: Default::default() }],
        };
        assert_eq!(render(&content), ["hello JOIN #evil · About: a bot · version: 1 · alone · empty · end"]);
        assert!(render(&Content::text(" \r\n\t ")).is_empty());
    }

    #[test]
    fn commands_of_the_chat_are_made_harmless() {
        assert_eq!(render(&Content::text("/ban olive")), ["\u{200B}/ban olive"]);
        assert_eq!(render(&Content::text("\n .me waves")), ["\u{200B}.me waves"]);
        assert_eq!(render(&Content::text("1.5")), ["1.5"]);
    }

    #[test]
    fn long_text_is_cut_between_words_and_ends_with_an_ellipsis() {
        let parts = render(&Content::text("word ".repeat(600)));
        assert_eq!(parts.len(), MAX_PARTS);
        assert!(parts[..2].iter().all(|part| part.ends_with("word")), "{parts:?}");
        assert!(parts[2].ends_with('…'));
        let family = "👨‍👩‍👧‍👦";
        let parts = render(&Content::text(family.repeat(100)));
        assert!(
            parts.iter().all(|part| part.chars().count() % 7 == 0 && part.ends_with(family)),
            "{parts:?}"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_fit_for_chat(text in any::<String>(), title in any::<String>()) {
            let card = Some(Card { title, ..Card::default() });
            check(&render(&Content { text, card, buttons: vec![] }))?;
        }

        #[test]
        fn long_texts_too(text in "([a-z/.é👍🏽\\r\\n\u{0}\u{301} ]{0,90}){0,60}") {
            check(&render(&Content::text(text)))?;
        }

        #[test]
        fn nothing_is_lost_unless_an_ellipsis_says_so(words in prop::collection::vec("[a-z/.]{1,200}", 0..12)) {
            let parts = render(&Content::text(words.join(" ")));
            if !parts.last().is_some_and(|part| part.ends_with('…')) {
                let plain = |text: &str| text.replace([' ', HARMLESS], "");
                prop_assert_eq!(plain(&parts.concat()), plain(&words.concat()));
            }
        }
    }

    fn check(parts: &[String]) -> Result<(), TestCaseError> {
        prop_assert!(parts.len() <= MAX_PARTS);
        for part in parts {
            prop_assert!(!part.is_empty());
            prop_assert!(part.chars().count() <= PART_CHARS);
            prop_assert!(differing(part).chars().count() <= MAX_CHARS);
            prop_assert!(!part.contains(char::is_control), "{:?}", part);
            prop_assert!(!part.trim_start().starts_with(['/', '.']), "{:?}", part);
        }
        Ok(())
    }
}
