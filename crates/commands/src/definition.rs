//! What a command says of itself. Everything else (parsing, slash command, help) follows from it.

use std::{pin::Pin, time::Duration};

use protocol::{Choice, OptionKind, Platform, Rank};

use crate::{
    answer::{Answer, Failure},
    ask::Ask,
};

/// A command at work.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// One command.
///
/// Its description is the text `<name>-description` of the Fluent files, the description of an option
/// is `<name>-option-<option>`.
#[derive(Debug)]
pub struct Definition {
    /// 1 to 32 characters of a-z, 0-9, `-`, `_`.
    pub name: &'static str,
    /// What it takes, required ones first; at most 25.
    pub options: &'static [Param],
    /// Who may use it.
    pub rank: Rank,
    /// How long a person waits between two uses; moderators and owners do not.
    pub cooldown: Duration,
    /// Where it can be used.
    pub platforms: &'static [Platform],
    /// Answers. A press of a button that it has shown runs it again, see [`Form::Button`](crate::Form).
    pub run: fn(&Ask) -> Running<'_>,
}

/// One option of a command.
#[derive(Debug)]
pub struct Param {
    /// 1 to 32 characters of a-z, 0-9, `-`, `_`.
    pub name: &'static str,
    /// What it takes. A text as the last option of a chat command takes the rest of the line.
    pub kind: OptionKind,
    /// Whether it must be given.
    pub required: bool,
    /// Proposes values, best first, for what is typed so far.
    pub complete: Option<fn(&Ask, &str) -> Vec<Choice>>,
}

impl Definition {
    /// Whether somebody of this rank may use it on this platform.
    #[must_use]
    pub fn open_to(&self, platform: Platform, rank: Rank) -> bool {
        self.platforms.contains(&platform) && rank >= self.rank
    }

    /// Whether it is there on this platform for those who run the bot, and nobody else.
    #[must_use]
    pub fn is_operators_on(&self, platform: Platform) -> bool {
        self.platforms.contains(&platform) && self.rank == Rank::Operator
    }

    /// How it is used in chat: `!help [command]`.
    #[must_use]
    pub fn usage(&self, prefix: &str) -> String {
        let mut usage = format!("{prefix}{}", self.name);
        for option in self.options {
            let (open, close) = if option.required { ('<', '>') } else { ('[', ']') };
            usage.push(' ');
            usage.push(open);
            usage.push_str(option.name);
            usage.push(close);
        }
        usage
    }

    /// The id of the text that describes it.
    #[must_use]
    pub fn description_id(&self) -> String {
        format!("{}-description", self.name)
    }

    /// The id of the text that describes an option.
    #[must_use]
    pub fn option_id(&self, option: &Param) -> String {
        format!("{}-option-{}", self.name, option.name)
    }
}
