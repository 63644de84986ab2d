//! A command that was found, before and after it runs.

use std::time::Duration;

use protocol::{InteractionResponse, Rank, ResponseBody, VERSION};

use crate::{
    answer::{Answer, Failure},
    arguments::ArgumentError,
    ask::{Ask, Form},
    definition::Definition,
    language::Language,
};

/// How long a channel waits before it is told again who may use a command.
const REFUSED_ONCE_IN: Duration = Duration::from_secs(60);

/// A command that somebody asked for.
pub struct Call {
    definition: &'static Definition,
    ask: Ask,
    wrong: Option<Wrong>,
}

/// Why a command is answered, and not run.
pub(crate) enum Wrong {
    /// What was given with it does not fit.
    Arguments(ArgumentError),
    /// Only who runs the bot may use it.
    NotTheirs,
}

/// How long somebody waits before the next use of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// Names the command and the person, as subject tokens with dots between them.
    pub key: String,
    /// At least a second.
    pub lasts: Duration,
}

impl Call {
    pub(crate) const fn new(definition: &'static Definition, ask: Ask, wrong: Option<Wrong>) -> Self {
        Self { definition, ask, wrong }
    }

    /// The name of the command.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.definition.name
    }

    /// The question.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// How long the person waits before the next use, if at all. `setting` takes the place of what the
    /// command says; zero is none. Wrong arguments count as a use: they are answered too.
    #[must_use]
    pub fn cooldown(&self, setting: Option<Duration>) -> Option<Cooldown> {
        if matches!(self.wrong, Some(Wrong::NotTheirs)) {
            // A crowd that types it is told once.
            let key = format!("not-open.{}.{}", self.ask.platform, self.ask.channel);
            return Some(Cooldown { key, lasts: REFUSED_ONCE_IN });
        }
        let lasts = setting.unwrap_or(self.definition.cooldown);
        if lasts.is_zero() || self.ask.user.rank > Rank::Everyone {
            return None;
        }
        let key = format!("{}.{}.{}", self.definition.name, self.ask.platform, self.ask.user.id);
        Some(Cooldown { key, lasts: lasts.max(Duration::from_secs(1)) })
    }

    /// Runs the command; arguments that do not fit are answered with how it is used.
    ///
    /// # Errors
    /// [`Failure`] when the command could not answer; say [`apology`](crate::apology) then.
    pub async fn run(&self) -> Result<Answer, Failure> {
        let wrong = match &self.wrong {
            None => return (self.definition.run)(&self.ask).await,
            Some(Wrong::NotTheirs) => return Ok(not_theirs(self.ask.language)),
            Some(Wrong::Arguments(wrong)) => wrong,
        };
        let usage = self.definition.usage(self.ask.prefix());
        let values = [("wrong", wrong.explain(self.ask.language).into()), ("usage", usage.into())];
        Ok(Answer::note(self.ask.say("argument-wrong", &values)))
    }

    /// What somebody hears who is too early, where only they hear it.
    #[must_use]
    pub fn too_soon(&self) -> Answer {
        Answer::note(self.ask.say("command-too-soon", &[]))
    }

    /// An answer as the response to an interaction.
    #[must_use]
    pub fn response(&self, answer: Answer) -> InteractionResponse {
        let Answer { content, ephemeral, .. } = answer;
        let body = match self.ask.form {
            Form::Button { .. } if !ephemeral => ResponseBody::Update { content },
            _ => ResponseBody::Reply { content, ephemeral },
        };
        InteractionResponse { v: VERSION, body }
    }
}

/// What somebody hears who does not run the bot.
pub(crate) fn not_theirs(language: Language) -> Answer {
    Answer::note(language.say("command-not-theirs", &[]))
}
