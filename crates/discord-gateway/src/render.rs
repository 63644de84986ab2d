//! How a [`Content`] looks on Discord: text, one embed, one row of buttons. Whatever is longer than
//! Discord takes is cut with an ellipsis; nobody is ever mentioned.
//! Source of the limits: <https://docs.discord.com/developers/resources/message#embed-object-embed-limits>.

use std::collections::HashSet;

use protocol::{Button, ButtonStyle, Card, Content};
use twilight_model::channel::message::{
    AllowedMentions, Component, Embed,
    component::{self, ActionRow},
    embed::{EmbedField, EmbedFooter},
};

/// Characters of a message's text.
const MAX_TEXT: usize = 2000;
/// Characters of an embed's title, of a field's name.
const MAX_TITLE: usize = 256;
/// Characters of an embed's text.
const MAX_BODY: usize = 4096;
/// Characters of a field's value.
const MAX_VALUE: usize = 1024;
/// Characters of an embed's footer.
const MAX_FOOTER: usize = 2048;
/// Characters of an embed altogether.
const MAX_EMBED: usize = 6000;
/// Fields of an embed.
const MAX_FIELDS: usize = 25;
/// Buttons of a row.
const MAX_BUTTONS: usize = 5;
/// Characters of a button's label.
const MAX_LABEL: usize = 80;
/// Bytes of a button's id; Discord counts characters, of which there are never more.
const MAX_BUTTON_ID: usize = 100;
/// A blank that Discord does not cut away, where it wants some text.
const BLANK: &str = "\u{200b}";

/// A content as Discord takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The text; empty when there is none.
    pub text: String,
    /// No embed, or one.
    pub embeds: Vec<Embed>,
    /// No row, or one.
    pub components: Vec<Component>,
}

/// Renders a content.
#[must_use]
pub fn render(content: &Content) -> Rendered {
    let embeds: Vec<_> = content.card.iter().map(embed).collect();
    let text = cut(&content.text, MAX_TEXT);
    let nothing = text.trim().is_empty() && embeds.is_empty();
    Rendered {
        text: if nothing { BLANK.to_owned() } else { text },
        embeds,
        components: row(&content.buttons),
    }
}

/// Mentions nobody, whatever the text says.
#[must_use]
pub fn nobody() -> AllowedMentions {
    AllowedMentions::default()
}

/// The first `max` characters; the last of them is an ellipsis when there were more.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Cuts parts so that all of them together stay below the limit of an embed.
struct Room(usize);

impl Room {
    fn cut(&mut self, text: &str, max: usize) -> String {
        let text = cut(text, max.min(self.0));
        self.0 -= text.chars().count();
        text
    }

    /// The same where Discord wants some text.
    fn cut_or_blank(&mut self, text: &str, max: usize) -> String {
        self.cut(if text.trim().is_empty() { BLANK } else { text }, max)
    }
}

fn embed(card: &Card) -> Embed {
    let mut room = Room(MAX_EMBED);
    let title = room.cut_or_blank(&card.title, MAX_TITLE);
    let footer = room.cut(&card.footer, MAX_FOOTER);
    let body = room.cut(&card.body, MAX_BODY);
    let mut fields = Vec::new();
    for field in card.fields.iter().take(MAX_FIELDS) {
        // A name and a value of one character each are the least that Discord takes.
        if room.0 < 2 {
            break;
        }
        room.0 -= 1;
        let name = room.cut_or_blank(&field.name, MAX_TITLE);
        room.0 += 1;
        let value = room.cut_or_blank(&field.value, MAX_VALUE);
        fields.push(EmbedField { inline: field.inline, name, value });
    }
    Embed {
        author: None,
        color: None,
        description: (!body.is_empty()).then_some(body),
        fields,
        flags: None,
        footer: (!footer.is_empty()).then_some(EmbedFooter {
            icon_url: None,
            proxy_icon_url: None,
            text: footer,
        }),
        image: None,
        kind: "rich".to_owned(),
        provider: None,
        thumbnail: None,
        timestamp: None,
        title: Some(title),
        url: None,
        video: None,
    }
}

fn row(buttons: &[Button]) -> Vec<Component> {
    // An id that is cut would come back as another one, so such a button is left out; so is a second
    // one with the same id, which Discord refuses.
    let mut components: Vec<Component> = Vec::new();
    let mut ids = HashSet::new();
    for button in buttons {
        let usable = (1..=MAX_BUTTON_ID).contains(&button.id.len()) && ids.insert(button.id.as_str());
        if usable && components.len() < MAX_BUTTONS {
            components.push(press(button));
        }
    }
    if components.is_empty() {
        return Vec::new();
    }
    vec![Component::ActionRow(ActionRow { components, id: None })]
}

fn press(button: &Button) -> Component {
    let label = if button.label.trim().is_empty() { BLANK } else { &button.label };
    Component::Button(component::Button {
        custom_id: Some(button.id.clone()),
        disabled: false,
        emoji: None,
        id: None,
        label: Some(cut(label, MAX_LABEL)),
        sku_id: None,
        style: match button.style {
            ButtonStyle::Primary => component::ButtonStyle::Primary,
            ButtonStyle::Secondary => component::ButtonStyle::Secondary,
            ButtonStyle::Danger => component::ButtonStyle::Danger,
        },
        url: None,
    })
}

#[cfg(test)]
mod tests {
    use protocol::CardField;
    use twilight_http::{client::ClientBuilder, request::TryIntoRequest};
    use twilight_model::id::Id;

    use super::*;

    /// Twilight checks what Discord would check.
    fn body(rendered: &Rendered) -> serde_json::Value {
        let client = ClientBuilder::new().ratelimiter(None).build();
        let request = client
            .create_message(Id::new(1))
            .content(&rendered.text)
            .embeds(&rendered.embeds)
            .components(&rendered.components)
            .allowed_mentions(Some(&nobody()))
            .try_into_request()
            .unwrap();
        serde_json::from_slice(request.body().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_ordinary_content() {
        let content = Content {
            text: "hello @everyone".to_owned(),
            card: Some(Card {
                title: "About".to_owned(),
                body: "A bot".to_owned(),
                fields: vec![CardField { name: "up".to_owned(), value: "1 h".to_owned(), inline: true }],
                footer: "0.1.0".to_owned(),
            }),
            buttons: vec![Button {
                id: "help:2".to_owned(),
                label: "Next".to_owned(),
                style: ButtonStyle::Primary,
            }],
        };
        insta::assert_json_snapshot!(body(&render(&content)));
    }

    #[tokio::test]
    async fn the_longest_contents_are_still_taken() {
        let long = "é".repeat(10_000);
        let field = CardField { name: long.clone(), value: long.clone(), inline: false };
        let button =
            |n: usize| Button { id: format!("x:{n}"), label: long.clone(), style: ButtonStyle::Danger };
        let content = Content {
            text: long.clone(),
            card: Some(Card {
                title: long.clone(),
                body: long.clone(),
                fields: vec![field; 30],
                footer: long.clone(),
            }),
            buttons: (0..9).map(button).chain([Button { id: long.clone(), ..button(0) }]).collect(),
        };
        let body = body(&render(&content));
        assert!(body["content"].as_str().unwrap().ends_with('…'));
        assert_eq!(body["components"][0]["components"].as_array().unwrap().len(), 5);
    }

    #[tokio::test]
    async fn an_empty_content_is_a_blank_message_instead_of_an_error() {
        assert_eq!(body(&render(&Content::default()))["content"], BLANK);
        let card = Card {
            fields: vec![CardField { name: String::new(), value: String::new(), inline: false }],
            ..Card::default()
        };
        body(&render(&Content { card: Some(card), ..Content::default() }));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("ééé", 2), "é…");
    }
}
