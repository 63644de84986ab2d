//! `help`: what the person can ask here, or how one command is used.

use std::time::Duration;

use protocol::{Card, CardField, Choice, Content, OptionKind, Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, Param, answer::MAX_FIELDS, harmless};

/// The longest part of an unknown name that the answer repeats, in characters.
const SHOWN: usize = 40;

pub(super) static COMMAND: Definition = Definition {
    name: "help",
    options: &[Param { name: "command", kind: OptionKind::Text, required: false, complete: Some(complete) }],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(3),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let Some(wanted) = ask.arguments.text("command") else { return Ok(all(ask)) };
    let name = wanted.strip_prefix(ask.prefix()).unwrap_or(wanted).trim().to_lowercase();
    Ok(match open(ask).find(|definition| definition.name == name) {
        Some(definition) => one(ask, definition),
        None => Answer::note(ask.say("help-unknown", &[("name", harmless(wanted, SHOWN).into())])),
    })
}

fn open(ask: &Ask) -> impl Iterator<Item = &'static Definition> {
    let (platform, rank) = (ask.platform, ask.user.rank);
    ask.commands.iter().copied().filter(move |definition| definition.open_to(platform, rank))
}

fn all(ask: &Ask) -> Answer {
    let prefix = ask.prefix();
    if !ask.shows_cards() {
        let names: Vec<_> = open(ask).map(|definition| format!("{prefix}{}", definition.name)).collect();
        let example = format!("{prefix}help echo");
        let values = [("commands", names.join(" ").into()), ("example", example.into())];
        return Answer::text(ask.say("help-line", &values));
    }
    let field = |definition: &'static Definition| CardField {
        name: definition.usage(prefix),
        value: ask.say(&definition.description_id(), &[]),
        inline: false,
    };
    let card = Card {
        title: ask.say("help-title", &[]),
        fields: open(ask).map(field).take(MAX_FIELDS).collect(),
        footer: ask.say("help-more", &[("usage", COMMAND.usage(prefix).into())]),
        ..Card::default()
    };
    Answer::from(Content { card: Some(card), ..Content::default() })
}

fn one(ask: &Ask, definition: &'static Definition) -> Answer {
    let usage = definition.usage(ask.prefix());
    let description = ask.say(&definition.description_id(), &[]);
    let options =
        definition.options.iter().map(|option| (option.name, ask.say(&definition.option_id(option), &[])));
    if !ask.shows_cards() {
        let options: String = options.map(|(name, text)| format!(" · {name}: {text}")).collect();
        return Answer::text(format!("{usage}: {description}{options}"));
    }
    let field = |(name, value): (&str, String)| CardField { name: name.to_owned(), value, inline: false };
    let fields = options.map(field).collect();
    let card = Card { title: usage, body: description, fields, footer: String::new() };
    Answer::from(Content { card: Some(card), ..Content::default() })
}

fn complete(ask: &Ask, partial: &str) -> Vec<Choice> {
    let typed = partial.trim().trim_start_matches('/').to_lowercase();
    let choice = |definition: &Definition| Choice {
        name: definition.name.to_owned(),
        value: definition.name.to_owned(),
    };
    open(ask).filter(|definition| definition.name.starts_with(&typed)).map(choice).collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::{answer, both_languages, choices};

    #[tokio::test]
    async fn lists_what_the_person_can_ask() {
        insta::assert_snapshot!(both_languages("help").await);
    }

    #[tokio::test]
    async fn explains_one_command() {
        insta::assert_snapshot!(both_languages("help echo").await);
        let unknown = answer("!help @everyone").await.content.text;
        assert_eq!(unknown.replace('\u{200b}', "|"), "there is no command ‘|@|everyone’");
    }

    #[tokio::test]
    async fn proposes_names_while_somebody_types() {
        assert_eq!(choices("help", "command", "S"), ["stats"]);
        assert_eq!(choices("help", "command", "/e"), ["echo"]);
        assert_eq!(choices("help", "other", "s"), [""; 0]);
    }
}
