//! What all connections of the account share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use protocol::Event;
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::{
    irc::Line,
    mapping::{Mapper, Passed},
    pace::Pace,
    rooms::Rooms,
    send::irc::Confirms,
    stats::Stats,
    timing::Timing,
    transport::Endpoint,
};

/// The account on Twitch's chat.
#[derive(Debug)]
pub struct Chat {
    /// Its login.
    pub login: String,
    /// Its token.
    pub token: SecretString,
    /// Where chat is.
    pub endpoint: Endpoint,
    /// When connections are given up and tried.
    pub timing: Timing,
    /// Its channels.
    pub rooms: Arc<Rooms>,
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// How often it may log in.
    pub logins: Pace,
    /// How often it may join.
    pub joins: Pace,
    /// Messages that wait for Twitch's word.
    pub confirms: Confirms,
    /// What is counted.
    pub stats: Stats,
    /// Makes events of lines.
    pub mapper: Mutex<Mapper>,
    /// Its id, once Twitch told it.
    pub own_id: OnceLock<String>,
}

impl Chat {
    /// The event that a line is.
    ///
    /// # Errors
    /// [`Passed`] when it is none.
    pub fn event(&self, line: &Line<'_>, received_us: u64) -> Result<Event, Passed> {
        self.mapper.lock().unwrap_or_else(PoisonError::into_inner).event(line, received_us)
    }

    /// Twitch told the account's id.
    pub fn set_own_id(&self, id: &str) {
        if self.own_id.set(id.to_owned()).is_ok() {
            self.mapper.lock().unwrap_or_else(PoisonError::into_inner).set_own_id(id);
        }
    }
}
