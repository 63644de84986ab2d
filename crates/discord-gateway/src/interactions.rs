//! Slash commands, buttons and completions: asked on the bus, answered within Discord's 3 s.
//!
//! | a worker … | the person sees |
//! |---|---|
//! | answers within 2 s | the answer |
//! | answers within 60 s | "thinking…", then the answer |
//! | takes longer | "thinking…", then an apology |
//! | answers late like so many that no more are kept waiting | an apology |
//! | is asked when the gateway stops | an apology at the latest 2 s after that |
//! | is not there | at once, alone: nobody is on watch |
//!
//! Source: <https://docs.discord.com/developers/interactions/receiving-and-responding>.

use std::{sync::Arc, time::Duration};

use bus::{Bus, RequestError};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{Choice, Content, Interaction, InteractionResponse, Platform, ResponseBody, subject};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, warn};
use twilight_http::Client;
use twilight_model::{
    application::command::{CommandOptionChoice, CommandOptionChoiceValue},
    channel::message::MessageFlags,
    http::interaction::{
        InteractionResponse as Callback, InteractionResponseData, InteractionResponseType as Type,
    },
    id::Id,
};

use crate::{
    cursor::{Progress, Ticket},
    frame::Snowflake,
    render::{cut, nobody, render},
    rest::{Call, Rest, RestError, silently},
    stats::Stats,
    words,
};

/// Interactions that wait for a free hand.
pub const QUEUE: usize = 256;
/// Interactions that are worked on at the same time, those aside that were deferred.
const MAX_AT_ONCE: usize = 256;
/// Interactions that were deferred and wait for their answer. One more is not deferred: a worker that
/// hangs must not take the places of those that are answered at once.
pub const MAX_DEFERRED: usize = 256;
/// When an interaction is deferred, after it was read.
const DEFER_AFTER: Duration = Duration::from_secs(2);
/// Until when the first answer is of use, after the interaction was read.
const FIRST_ANSWER: Duration = Duration::from_millis(2900);
/// How long a deferred interaction waits for its answer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer after the first may take to get through.
const LATER_ANSWER: Duration = Duration::from_secs(15);
/// How long after the shutdown workers may still answer.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// How long after the shutdown Discord may still be told.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// Discord's limits for proposals.
const MAX_CHOICES: usize = 25;
const MAX_CHOICE_CHARS: usize = 100;
/// Discord's words for "gone already", "too late" and "answered already".
const UNKNOWN_MESSAGE: u64 = 10008;
const UNKNOWN_INTERACTION: u64 = 10062;
const ALREADY_ANSWERED: u64 = 40060;

/// What an interaction came from, which decides how it may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A slash command.
    Command,
    /// A button.
    Button,
    /// Somebody types.
    Autocomplete,
}

impl Form {
    /// The form of Discord's interaction type.
    #[must_use]
    pub const fn of(kind: u8) -> Option<Self> {
        match kind {
            2 => Some(Self::Command),
            3 => Some(Self::Button),
            4 => Some(Self::Autocomplete),
            _ => None,
        }
    }
}

/// An interaction to answer.
#[derive(Debug)]
pub struct Asked {
    /// Its id.
    pub id: Snowflake,
    /// The application.
    pub application: Snowflake,
    /// The secret that answers it.
    pub token: String,
    /// What it came from.
    pub form: Form,
    /// What a worker is asked.
    pub question: Interaction,
    /// Its `traceparent`.
    pub trace: String,
    /// Its span.
    pub span: Span,
    /// When it was read.
    pub read_at: Instant,
    /// The frame it came in.
    pub ticket: Ticket,
    /// Told when the frame is done.
    pub progress: Progress,
}

impl Asked {
    /// The frame needs nothing more: it has its first answer, or will never have one.
    pub fn finished(&self) {
        self.progress.done([self.ticket]);
    }

    fn words(&self, words: words::Words) -> Content {
        Content::text(words.in_language(self.question.locale.as_deref()))
    }
}

/// Answers interactions.
#[derive(Debug, Clone)]
pub struct Answerer {
    /// Where workers are asked.
    pub bus: Bus,
    /// How Discord is told.
    pub rest: Arc<Rest>,
    /// Builds requests.
    pub builder: Arc<Client>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// The places of interactions that were deferred.
    pub deferred: Arc<Semaphore>,
    /// Cancelled when the service stops.
    pub shutdown: CancellationToken,
}

/// An interaction that shows "thinking…", and the answer that it waits for.
struct Deferred<'a> {
    asked: Arc<Asked>,
    question: Question<'a>,
    _place: OwnedSemaphorePermit,
}

type Question<'a> = BoxFuture<'a, Result<InteractionResponse, RequestError>>;

/// Why there is no answer to give.
enum Excuse {
    Failed(RequestError),
    TooMany,
    Stopping,
}

impl Answerer {
    /// Answers until `asked` ends, then finishes what is quick to finish. Ends soon after the shutdown.
    pub async fn run(self, asked: mpsc::Receiver<Asked>) {
        let limit = async {
            self.shutdown.cancelled().await;
            sleep(DRAIN_LIMIT).await;
        };
        tokio::select! {
            () = self.answer_all(asked) => {}
            () = limit => warn!("some interactions stay without an answer, because the service stops"),
        }
    }

    async fn answer_all(&self, mut asked: mpsc::Receiver<Asked>) {
        let (mut fresh, mut deferred) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut open = true;
        while open || !fresh.is_empty() || !deferred.is_empty() {
            tokio::select! {
                next = asked.recv(), if open && fresh.len() < MAX_AT_ONCE => match next {
                    Some(asked) => {
                        let span = asked.span.clone();
                        fresh.push(Box::pin(self.answer(asked).instrument(span)));
                    }
                    None => open = false,
                },
                Some(late) = fresh.next() => if let Some(late) = late {
                    let span = late.asked.span.clone();
                    deferred.push(Box::pin(self.answer_late(late).instrument(span)));
                },
                Some(()) = deferred.next() => {}
            }
        }
    }

    /// Answers, or defers.
    async fn answer(&self, asked: Asked) -> Option<Deferred<'_>> {
        let asked = Arc::new(asked);
        let mut question = self.question(asked.clone());
        let outcome = match timeout_at(asked.read_at + DEFER_AFTER, &mut question).await {
            Ok(answer) => self.first(&asked, answer.map_err(Excuse::Failed)).await,
            Err(_) if asked.form == Form::Autocomplete => {
                self.stats.unanswered.with("timed_out").inc();
                self.callback(&asked, &choices(&[])).await
            }
            Err(_) if self.shutdown.is_cancelled() => self.first(&asked, Err(Excuse::Stopping)).await,
            Err(_) => match self.deferred.clone().try_acquire_owned() {
                Err(_) => self.first(&asked, Err(Excuse::TooMany)).await,
                Ok(place) => {
                    self.stats.deferred.inc();
                    match self.defer(&asked).await {
                        Ok(()) => {
                            asked.finished();
                            return Some(Deferred { asked, question, _place: place });
                        }
                        Err(error) => Err(error),
                    }
                }
            },
        };
        asked.finished();
        self.report(&asked, outcome);
        None
    }

    fn question(&self, asked: Arc<Asked>) -> Question<'_> {
        Box::pin(async move {
            let subject = subject::interaction(Platform::Discord, &asked.question.community);
            self.bus.request(subject, &asked.question, PATIENCE, Some(&asked.trace)).await
        })
    }

    async fn answer_late(&self, late: Deferred<'_>) {
        let stopping = async {
            self.shutdown.cancelled().await;
            sleep(LAST_ANSWER).await;
        };
        let answer = tokio::select! {
            answer = late.question => answer.map_err(Excuse::Failed),
            () = stopping => Err(Excuse::Stopping),
        };
        let outcome = self.later(&late.asked, answer).await;
        self.report(&late.asked, outcome);
    }

    fn report(&self, asked: &Asked, outcome: Result<(), RestError>) {
        match outcome {
            Ok(()) => {}
            Err(error) if error.code() == Some(ALREADY_ANSWERED) => {
                debug!(id = %asked.id, "answered before, by an earlier process");
            }
            Err(error) => {
                let late = error.code() == Some(UNKNOWN_INTERACTION);
                self.stats.unanswered.with(if late { "late" } else { "refused" }).inc();
                warn!(id = %asked.id, %error, "an interaction could not be answered");
            }
        }
    }

    /// Within the first seconds: everything is possible.
    async fn first(
        &self,
        asked: &Asked,
        answer: Result<InteractionResponse, Excuse>,
    ) -> Result<(), RestError> {
        let body = match answer {
            Ok(answer) => answer.body,
            Err(excuse) => self.excuse(asked, &excuse, true),
        };
        let callback = match body {
            ResponseBody::Choices { choices: proposed } => choices(&proposed),
            _ if asked.form == Form::Autocomplete => choices(&[]),
            ResponseBody::Reply { content, ephemeral } => {
                message(Type::ChannelMessageWithSource, &content, ephemeral)
            }
            ResponseBody::Update { content } if asked.form == Form::Button => {
                message(Type::UpdateMessage, &content, false)
            }
            ResponseBody::Update { content } => message(Type::ChannelMessageWithSource, &content, false),
        };
        self.callback(asked, &callback).await
    }

    /// After "thinking…": the original answer exists, and of a button it is the message itself.
    async fn later(
        &self,
        asked: &Asked,
        answer: Result<InteractionResponse, Excuse>,
    ) -> Result<(), RestError> {
        let body = match answer {
            Ok(answer) => answer.body,
            Err(excuse) => self.excuse(asked, &excuse, false),
        };
        match (asked.form, body) {
            (_, ResponseBody::Choices { .. }) => Ok(()),
            (Form::Button, ResponseBody::Reply { content, ephemeral }) => {
                self.follow_up(asked, &content, ephemeral).await
            }
            // "thinking…" was for all to see and cannot become a whisper any more.
            (_, ResponseBody::Reply { content, ephemeral: true }) => {
                match self.delete_original(asked).await {
                    Err(error) if error.code() != Some(UNKNOWN_MESSAGE) => {
                        // The next message would take the place of "thinking…", for all to see.
                        warn!(id = %asked.id, %error, "an answer for one person cannot be given alone");
                        self.edit_original(asked, &asked.words(words::NO_ANSWER)).await
                    }
                    _ => self.follow_up(asked, &content, true).await,
                }
            }
            (_, ResponseBody::Reply { content, .. } | ResponseBody::Update { content }) => {
                self.edit_original(asked, &content).await
            }
        }
    }

    /// What to say when there is no answer.
    fn excuse(&self, asked: &Asked, excuse: &Excuse, ephemeral: bool) -> ResponseBody {
        let (reason, words) = match excuse {
            Excuse::Failed(RequestError::NoResponders { .. }) => ("nobody", words::NOBODY),
            Excuse::Failed(RequestError::TimedOut { .. }) => ("timed_out", words::NO_ANSWER),
            Excuse::Failed(_) => ("failed", words::NO_ANSWER),
            Excuse::TooMany => ("too_many", words::NO_ANSWER),
            Excuse::Stopping => ("stopping", words::STOPPING),
        };
        self.stats.unanswered.with(reason).inc();
        let trace_id = service::trace::id(&asked.trace);
        match excuse {
            Excuse::Failed(error) => warn!(id = %asked.id, trace_id, %error, "no worker answered"),
            Excuse::TooMany | Excuse::Stopping => {
                warn!(id = %asked.id, trace_id, reason, "no worker answered");
            }
        }
        ResponseBody::Reply {
            content: asked.words(words),
            ephemeral: ephemeral || asked.form == Form::Button,
        }
    }

    async fn defer(&self, asked: &Asked) -> Result<(), RestError> {
        let kind = match asked.form {
            Form::Button => Type::DeferredUpdateMessage,
            Form::Command | Form::Autocomplete => Type::DeferredChannelMessageWithSource,
        };
        self.callback(asked, &Callback { kind, data: None }).await
    }

    async fn callback(&self, asked: &Asked, callback: &Callback) -> Result<(), RestError> {
        let Some(id) = Id::new_checked(asked.id.0) else { return Ok(()) };
        let client = self.client(asked);
        let request = client.create_response(id, &asked.token, callback);
        let call = Call::new("POST /interactions/{id}/{token}/callback", 0, request)?;
        self.rest.call(&call.of_interaction(), asked.read_at + FIRST_ANSWER, &silently).await.map(drop)
    }

    async fn edit_original(&self, asked: &Asked, content: &Content) -> Result<(), RestError> {
        let (rendered, mentions, client) = (render(content), nobody(), self.client(asked));
        let request = client
            .update_response(&asked.token)
            .content(Some(&rendered.text))
            .embeds(Some(&rendered.embeds))
            .components(Some(&rendered.components))
            .allowed_mentions(Some(&mentions));
        let call = Call::new("PATCH /webhooks/{id}/{token}/messages/@original", 0, request)?;
        self.rest.call(&call.of_interaction(), Instant::now() + LATER_ANSWER, &silently).await.map(drop)
    }

    async fn delete_original(&self, asked: &Asked) -> Result<(), RestError> {
        let client = self.client(asked);
        let request = client.delete_response(&asked.token);
        let call = Call::new("DELETE /webhooks/{id}/{token}/messages/@original", 0, request)?;
        self.rest.call(&call.of_interaction(), Instant::now() + LATER_ANSWER, &silently).await.map(drop)
    }

    async fn follow_up(&self, asked: &Asked, content: &Content, ephemeral: bool) -> Result<(), RestError> {
        let (rendered, mentions, client) = (render(content), nobody(), self.client(asked));
        let request = client
            .create_followup(&asked.token)
            .content(&rendered.text)
            .embeds(&rendered.embeds)
            .components(&rendered.components)
            .allowed_mentions(Some(&mentions))
            .flags(flags(ephemeral));
        // There is no nonce here: a second one would be seen.
        let call = Call::new("POST /webhooks/{id}/{token}", 0, request)?.once();
        self.rest.call(&call.of_interaction(), Instant::now() + LATER_ANSWER, &silently).await.map(drop)
    }

    fn client(&self, asked: &Asked) -> twilight_http::client::InteractionClient<'_> {
        // Discord's ids are never 0; one that is gets Discord's own refusal.
        self.builder.interaction(Id::new_checked(asked.application.0).unwrap_or(Id::new(1)))
    }
}

fn flags(ephemeral: bool) -> MessageFlags {
    if ephemeral { MessageFlags::EPHEMERAL } else { MessageFlags::empty() }
}

fn message(kind: Type, content: &Content, ephemeral: bool) -> Callback {
    let rendered = render(content);
    let data = InteractionResponseData {
        allowed_mentions: Some(nobody()),
        components: Some(rendered.components),
        content: Some(rendered.text),
        embeds: Some(rendered.embeds),
        flags: ephemeral.then_some(MessageFlags::EPHEMERAL),
        ..InteractionResponseData::default()
    };
    Callback { kind, data: Some(data) }
}

fn choices(proposed: &[Choice]) -> Callback {
    let one = |choice: &Choice| CommandOptionChoice {
        name: cut(&choice.name, MAX_CHOICE_CHARS),
        name_localizations: None,
        value: CommandOptionChoiceValue::String(choice.value.chars().take(MAX_CHOICE_CHARS).collect()),
    };
    // An empty name or value makes Discord refuse all of them.
    let usable = |choice: &&Choice| !choice.name.is_empty() && !choice.value.is_empty();
    let choices = proposed.iter().filter(usable).take(MAX_CHOICES).map(one).collect();
    let data = InteractionResponseData { choices: Some(choices), ..InteractionResponseData::default() };
    Callback { kind: Type::ApplicationCommandAutocompleteResult, data: Some(data) }
}
