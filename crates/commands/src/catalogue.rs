//! The commands as the gateways register them.

use protocol::{Catalogue, CommandSpec, Localized, OptionSpec, Platform, VERSION};

use crate::{
    definition::{Definition, Param},
    language::Language,
};

/// Those of the commands that a platform with slash commands can show, in the same order.
#[must_use]
pub fn catalogue(commands: &[&'static Definition]) -> Catalogue {
    let slash = |definition: &&&'static Definition| definition.platforms.contains(&Platform::Discord);
    let commands = commands.iter().filter(slash).map(|definition| spec(definition)).collect();
    Catalogue { v: VERSION, commands }
}

fn spec(definition: &Definition) -> CommandSpec {
    let option = |option: &Param| OptionSpec {
        name: option.name.to_owned(),
        description: localized(&definition.option_id(option)),
        kind: option.kind,
        required: option.required,
        autocomplete: option.complete.is_some(),
    };
    CommandSpec {
        name: definition.name.to_owned(),
        description: localized(&definition.description_id()),
        rank: definition.rank,
        options: definition.options.iter().map(option).collect(),
    }
}

fn localized(id: &str) -> Localized {
    let other = Language::ALL.into_iter().filter(|language| *language != Language::En);
    Localized {
        default: Language::En.say(id, &[]),
        other: other.map(|language| (language.tag().to_owned(), language.say(id, &[]))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::ALL;

    #[test]
    fn keeps_discords_bounds() {
        let name_fits = |name: &str| {
            (1..=32).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        let text_fits = |text: &Localized| {
            let fits = |text: &str| (1..=100).contains(&text.chars().count());
            fits(&text.default) && text.other.len() == 1 && text.other.values().all(|text| fits(text))
        };
        let catalogue = catalogue(ALL);
        assert!(catalogue.commands.is_sorted_by(|a, b| a.name < b.name), "one line each, sorted by name");
        for command in catalogue.commands {
            assert!(name_fits(&command.name) && text_fits(&command.description), "{command:?}");
            assert!(command.options.len() <= 25);
            assert!(command.options.is_sorted_by_key(|option| !option.required), "{command:?}");
            for option in command.options {
                assert!(name_fits(&option.name) && text_fits(&option.description), "{option:?}");
            }
        }
    }

    #[test]
    fn is_what_the_gateways_register() {
        insta::assert_json_snapshot!(catalogue(ALL));
    }
}
