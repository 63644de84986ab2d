//! The application commands that are registered, globally and per guild.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::APPLICATION;
use crate::discord::{
    error::ApiError,
    snowflake::{Id, Snowflakes},
};

/// Commands of one type and scope that can be registered: 100 of chat, 5 each of the others.
const fn most(kind: u64) -> usize {
    if kind == 1 { 100 } else { 5 }
}

/// New commands per day and scope.
const CREATES_PER_DAY: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One registered command, in Discord's shape.
#[derive(Clone, Debug)]
pub struct Command {
    /// Snowflake.
    pub id: Id,
    /// 1 chat, 2 user, 3 message.
    pub kind: u64,
    /// Its name.
    pub name: String,
    /// All of it, as the API shows it.
    pub body: Map<String, Value>,
}

/// All commands.
#[derive(Debug, Default)]
pub struct Commands {
    scopes: HashMap<Option<Id>, Vec<Command>>,
    creates: HashMap<Option<Id>, VecDeque<Instant>>,
}

impl Commands {
    /// The commands of a guild, or the global ones.
    pub fn of(&self, guild: Option<Id>) -> &[Command] {
        self.scopes.get(&guild).map_or(&[], Vec::as_slice)
    }

    /// What can be used in a guild (or in direct messages): its own commands, then the global ones.
    pub fn visible(&self, guild: Option<Id>) -> impl Iterator<Item = &Command> {
        let own = guild.map_or(&[][..], |guild| self.of(Some(guild)));
        own.iter().chain(self.of(None))
    }

    /// Registers a checked command, in place of one with the same name and type.
    /// Returns it, and whether it is new.
    ///
    /// # Errors
    /// Error 30032 or 30034 when there are too many.
    pub fn put(
        &mut self,
        ids: &Snowflakes,
        guild: Option<Id>,
        body: Map<String, Value>,
    ) -> Result<(Command, bool), ApiError> {
        let (kind, name) = identity(&body);
        let scope = self.scopes.entry(guild).or_default();
        if let Some(known) = scope.iter_mut().find(|known| known.kind == kind && known.name == name) {
            known.change(ids, body);
            return Ok((known.clone(), false));
        }
        if scope.iter().filter(|known| known.kind == kind).count() >= most(kind) {
            return Err(ApiError::TOO_MANY_COMMANDS);
        }
        count_create(self.creates.entry(guild).or_default())?;
        let command = Command::new(ids, guild, body);
        scope.push(command.clone());
        Ok((command, true))
    }

    /// Replaces all commands of a scope; those that stay keep their id, and their version too when
    /// nothing changed.
    ///
    /// # Errors
    /// Error 30032 or 30034 when there are too many; then nothing changes.
    pub fn replace(
        &mut self,
        ids: &Snowflakes,
        guild: Option<Id>,
        bodies: Vec<Map<String, Value>>,
    ) -> Result<&[Command], ApiError> {
        let mut old = self.scopes.get(&guild).cloned().unwrap_or_default();
        let creates = self.creates.entry(guild).or_default();
        let mut new: Vec<Command> = Vec::with_capacity(bodies.len());
        for body in bodies {
            let (kind, name) = identity(&body);
            if new.iter().filter(|command| command.kind == kind).count() >= most(kind) {
                return Err(ApiError::TOO_MANY_COMMANDS);
            }
            match old.iter().position(|known| known.kind == kind && known.name == name) {
                Some(place) => {
                    let mut known = old.swap_remove(place);
                    known.change(ids, body);
                    new.push(known);
                }
                None => {
                    count_create(creates)?;
                    new.push(Command::new(ids, guild, body));
                }
            }
        }
        let scope = self.scopes.entry(guild).or_default();
        *scope = new;
        Ok(scope)
    }

    /// Changes one command by id.
    ///
    /// # Errors
    /// Error 10063 when there is none.
    pub fn edit(
        &mut self,
        ids: &Snowflakes,
        guild: Option<Id>,
        id: Id,
        body: Map<String, Value>,
    ) -> Result<&Command, ApiError> {
        let scope = self.scopes.entry(guild).or_default();
        let known = scope.iter_mut().find(|known| known.id == id).ok_or(ApiError::UNKNOWN_COMMAND)?;
        known.change(ids, body);
        Ok(known)
    }

    /// Removes one command by id; whether there was one.
    pub fn remove(&mut self, guild: Option<Id>, id: Id) -> bool {
        let scope = self.scopes.entry(guild).or_default();
        let before = scope.len();
        scope.retain(|known| known.id != id);
        scope.len() < before
    }
}

impl Command {
    fn new(ids: &Snowflakes, guild: Option<Id>, mut body: Map<String, Value>) -> Self {
        let id = ids.next();
        body.insert("id".to_owned(), json!(id));
        body.insert("application_id".to_owned(), json!(APPLICATION));
        body.insert("version".to_owned(), json!(ids.next()));
        if let Some(guild) = guild {
            body.insert("guild_id".to_owned(), json!(guild));
        }
        let (kind, name) = identity(&body);
        Self { id, kind, name, body }
    }

    fn change(&mut self, ids: &Snowflakes, body: Map<String, Value>) {
        let same = body.iter().all(|(key, value)| self.body.get(key) == Some(value));
        if same {
            return;
        }
        self.body.extend(body);
        self.body.insert("version".to_owned(), json!(ids.next()));
        (self.kind, self.name) = identity(&self.body);
    }
}

fn identity(body: &Map<String, Value>) -> (u64, String) {
    let kind = body.get("type").and_then(Value::as_u64).unwrap_or(1);
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    (kind, name.to_owned())
}

fn count_create(creates: &mut VecDeque<Instant>) -> Result<(), ApiError> {
    while creates.front().is_some_and(|at| at.elapsed() > DAY) {
        creates.pop_front();
    }
    if creates.len() >= CREATES_PER_DAY {
        return Err(ApiError::TOO_MANY_COMMAND_CREATES);
    }
    creates.push_back(Instant::now());
    Ok(())
}
