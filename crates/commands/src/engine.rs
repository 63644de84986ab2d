//! Finds which command is asked for, by whom and in which language.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    Author, ChannelId, CommunityId, Content, Event, EventBody, EventId, Interaction, InteractionBody,
    InteractionResponse, Platform, Rank, ResponseBody, VERSION,
};

use crate::{
    arguments::Arguments,
    ask::{Ask, Form},
    call::{self, Call, Wrong},
    definition::Definition,
    facts::Facts,
    language::Language,
    owners::Owners,
};

/// How many values may be proposed while somebody types: Discord's bound
/// (<https://discord.com/developers/docs/interactions/receiving-and-responding>).
const MAX_CHOICES: usize = 25;

/// All commands, ready to be asked.
#[derive(Clone)]
pub struct Engine {
    commands: &'static [&'static Definition],
    language: Language,
    owners: Owners,
    facts: Arc<dyn Facts>,
}

/// Why a chat message gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It is no command.
    NoCommand,
    /// No command has this name. Another bot may share the prefix, so nothing is said.
    Unknown,
    /// The person may not use it, or it is not for this platform.
    NotOpen,
    /// Another bot wrote it. Two bots that answer each other never stop.
    Bot,
}

/// What an interaction asks for.
pub enum Asked {
    /// A command.
    Call(Box<Call>),
    /// Something that is answered at once.
    Answered(InteractionResponse),
}

/// Where and by whom, the same for events and interactions.
struct Origin {
    event: EventId,
    platform: Platform,
    community: CommunityId,
    channel: ChannelId,
    user: Author,
    language: Language,
    at_ms: u64,
    received_us: u64,
}

impl Engine {
    /// Makes `commands` ready. `language` is used where the platform does not tell the person's;
    /// `owners` are the accounts that have every right everywhere.
    #[must_use]
    pub fn new(
        commands: &'static [&'static Definition],
        language: Language,
        owners: Owners,
        facts: Arc<dyn Facts>,
    ) -> Self {
        Self { commands, language, owners, facts }
    }

    /// Finds the command that a chat message asks for.
    ///
    /// # Errors
    /// [`Passed`] when the message gets no answer.
    pub fn of_event(&self, event: &Event) -> Result<Call, Passed> {
        let EventBody::Command(command) = &event.body else { return Err(Passed::NoCommand) };
        let author = &command.message.author;
        if author.bot {
            return Err(Passed::Bot);
        }
        let line = command.line();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let definition = self.find(&name.to_lowercase()).ok_or(Passed::Unknown)?;
        let origin = Origin {
            event: event.id.clone(),
            platform: event.platform,
            community: event.community.clone(),
            channel: command.message.channel.clone(),
            user: self.ranked(event.platform, author),
            language: self.language,
            at_ms: event.at_ms,
            received_us: event.received_us,
        };
        let open = definition.open_to(origin.platform, origin.user.rank);
        let message = command.message.id.clone();
        let form = Form::Chat { prefix: command.prefix.clone(), message };
        let arguments = if open {
            Arguments::of_line(rest, definition.options).map_err(Wrong::Arguments)
        } else if definition.is_operators_on(origin.platform) {
            // It may well be whoever runs the bot, who has not said so in the settings.
            Err(Wrong::NotTheirs)
        } else {
            return Err(Passed::NotOpen);
        };
        Ok(self.call(definition, origin, form, arguments))
    }

    /// Finds the command that an interaction asks for, or answers it.
    #[must_use]
    pub fn of_interaction(&self, interaction: &Interaction) -> Asked {
        let origin = self.origin(interaction);
        let no_options = BTreeMap::new();
        let (name, options, form) = match &interaction.body {
            InteractionBody::Command { name, options } => (name.as_str(), options, Form::Slash),
            InteractionBody::Button { button } => {
                let (name, argument) = button.split_once(':').unwrap_or((button, ""));
                (name, &no_options, Form::Button { argument: argument.to_owned() })
            }
            InteractionBody::Autocomplete { name, option, partial } => {
                return Asked::Answered(self.complete(name, option, partial, origin));
            }
        };
        let language = origin.language;
        let Some(definition) = self.find(name) else {
            return Asked::note(language.say("command-unknown", &[]));
        };
        if !definition.open_to(origin.platform, origin.user.rank) {
            return Asked::note(if definition.is_operators_on(origin.platform) {
                call::not_theirs(language).content.text
            } else {
                language.say("command-not-open", &[])
            });
        }
        let arguments = match &form {
            // What the command was given first is not known any more.
            Form::Button { .. } => Ok(Arguments::default()),
            _ => Arguments::of_options(options, definition.options).map_err(Wrong::Arguments),
        };
        Asked::Call(Box::new(self.call(definition, origin, form, arguments)))
    }

    fn complete(&self, name: &str, option: &str, partial: &str, origin: Origin) -> InteractionResponse {
        let (platform, rank) = (origin.platform, origin.user.rank);
        let definition = self.find(name).filter(|definition| definition.open_to(platform, rank));
        let complete = definition.and_then(|definition| {
            let option = definition.options.iter().find(|known| known.name == option)?;
            option.complete
        });
        let mut choices = match complete {
            Some(complete) => complete(&self.ask(origin, Form::Slash, Arguments::default()), partial),
            None => Vec::new(),
        };
        choices.truncate(MAX_CHOICES);
        InteractionResponse { v: VERSION, body: ResponseBody::Choices { choices } }
    }

    fn origin(&self, interaction: &Interaction) -> Origin {
        Origin {
            event: interaction.id.clone(),
            platform: interaction.platform,
            community: interaction.community.clone(),
            channel: interaction.channel.clone(),
            user: self.ranked(interaction.platform, &interaction.user),
            language: interaction.locale.as_deref().and_then(Language::of_locale).unwrap_or(self.language),
            at_ms: interaction.at_ms,
            received_us: interaction.received_us,
        }
    }

    fn call(
        &self,
        definition: &'static Definition,
        origin: Origin,
        form: Form,
        arguments: Result<Arguments, Wrong>,
    ) -> Call {
        let (arguments, wrong) = match arguments {
            Ok(arguments) => (arguments, None),
            Err(error) => (Arguments::default(), Some(error)),
        };
        Call::new(definition, self.ask(origin, form, arguments), wrong)
    }

    fn ask(&self, origin: Origin, form: Form, arguments: Arguments) -> Ask {
        let Origin { event, platform, community, channel, user, language, at_ms, received_us } = origin;
        let (facts, commands) = (Arc::clone(&self.facts), self.commands);
        Ask {
            event,
            platform,
            community,
            channel,
            user,
            language,
            at_ms,
            received_us,
            form,
            arguments,
            facts,
            commands,
        }
    }

    fn find(&self, name: &str) -> Option<&'static Definition> {
        self.commands.iter().copied().find(|definition| definition.name == name)
    }

    fn ranked(&self, platform: Platform, author: &Author) -> Author {
        let runs = self.owners.have(platform, &author.id);
        let rank = if runs { Rank::Operator } else { author.rank.min(Rank::Owner) };
        Author { rank, ..author.clone() }
    }
}

impl Asked {
    fn note(text: String) -> Self {
        let body = ResponseBody::Reply { content: Content::text(text), ephemeral: true };
        Self::Answered(InteractionResponse { v: VERSION, body })
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
