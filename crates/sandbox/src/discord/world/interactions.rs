//! What people asked of the application and what became of it.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::discord::{error::ApiError, snowflake::Id};

/// How many interactions are remembered; older ones are unknown, as after 15 minutes.
const KEPT: usize = 10_000;

/// `type` of an interaction.
pub mod kind {
    /// A slash command.
    pub const COMMAND: u8 = 2;
    /// A button or select.
    pub const COMPONENT: u8 = 3;
    /// Somebody types an option.
    pub const AUTOCOMPLETE: u8 = 4;
    /// A form was sent.
    pub const MODAL: u8 = 5;
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was answered; after the deadline it is too late.
    Waiting,
    /// Answered; edits and follow-ups are possible.
    Answered,
}

/// One interaction.
#[derive(Debug)]
pub struct Interaction {
    /// Snowflake.
    pub id: Id,
    /// Opens the webhook routes.
    pub token: String,
    /// See [`kind`].
    pub kind: u8,
    /// Where.
    pub channel: Id,
    /// Who.
    pub user: Id,
    /// The command as typed, or the custom id.
    pub name: String,
    /// When the person asked.
    pub at: Instant,
    /// How far it is.
    pub stage: Stage,
    /// The message that `@original` means.
    pub original: Option<Id>,
    /// The message whose component was used.
    pub source: Option<Id>,
    /// Everything that was sent for it, ephemeral messages included.
    pub messages: Vec<Id>,
    /// Who waits for choices.
    pub choices: Option<oneshot::Sender<Vec<Value>>>,
    /// The form that was opened.
    pub modal: Option<Value>,
}

/// All interactions that are still of use.
#[derive(Debug, Default)]
pub struct Interactions {
    by_id: HashMap<Id, Interaction>,
    by_token: HashMap<String, Id>,
    order: VecDeque<Id>,
}

impl Interactions {
    /// Adds a new one.
    pub fn add(&mut self, interaction: Interaction) {
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.by_id.remove(&oldest)
        {
            self.by_token.remove(&gone.token);
        }
        self.order.push_back(interaction.id);
        self.by_token.insert(interaction.token.clone(), interaction.id);
        self.by_id.insert(interaction.id, interaction);
    }

    /// One by its id.
    pub fn get(&self, id: Id) -> Option<&Interaction> {
        self.by_id.get(&id)
    }

    /// One by its id, to change it.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Interaction> {
        self.by_id.get_mut(&id)
    }

    /// The one that waits for its first answer.
    ///
    /// # Errors
    /// Error 10062 when there is none or it is too late, 40060 when it was answered.
    pub fn waiting(&mut self, id: Id, token: &str, deadline: Duration) -> Result<&mut Interaction, ApiError> {
        let found = self.by_id.get_mut(&id).filter(|found| found.token == token);
        let found = found.ok_or(ApiError::UNKNOWN_INTERACTION)?;
        match found.stage {
            Stage::Answered => Err(ApiError::ALREADY_ACKNOWLEDGED),
            Stage::Waiting if found.at.elapsed() > deadline => Err(ApiError::UNKNOWN_INTERACTION),
            Stage::Waiting => Ok(found),
        }
    }

    /// The answered one that a webhook token opens.
    ///
    /// # Errors
    /// Error 50027 when the token is unknown or has expired, 10015 before the first answer.
    pub fn webhook(&mut self, token: &str, life: Duration) -> Result<&mut Interaction, ApiError> {
        let found = self.by_token.get(token).and_then(|id| self.by_id.get_mut(id));
        let found = found.ok_or(ApiError::INVALID_WEBHOOK_TOKEN)?;
        if found.at.elapsed() > life {
            return Err(ApiError::INVALID_WEBHOOK_TOKEN);
        }
        if found.stage == Stage::Waiting {
            return Err(ApiError::UNKNOWN_WEBHOOK);
        }
        Ok(found)
    }
}
