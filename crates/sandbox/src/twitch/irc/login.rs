//! What a client may say before and beside chat: capabilities, PASS, NICK, PING. Hands the rest to
//! `channel` and `send` once the client is logged in.
//!
//! Source of the words: dev.twitch.tv/docs/chat/irc. That a connection is closed after a refused
//! login: seen by clients (TwitchIO/TwitchIO#145).

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use super::{
    caps,
    connection::Connection,
    line::{ClientLine, Shared},
    notice,
    tags::Tags,
};
use crate::{
    feed::{Item, Platform},
    twitch::{
        Inner,
        people::{self, Account},
        world::Client,
    },
};

/// One client from the first byte to the last.
pub(crate) struct Session {
    pub(super) twitch: Arc<Inner>,
    pub(super) connection: Arc<Connection>,
    pub(super) account: Option<Arc<Account>>,
    pub(super) anonymous: bool,
    pass: Option<String>,
}

impl Session {
    pub(crate) fn new(twitch: Arc<Inner>, connection: Arc<Connection>) -> Self {
        Self { twitch, connection, account: None, anonymous: false, pass: None }
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.account.is_some()
    }

    /// Twitch's own PING, which the client has to answer.
    pub(crate) fn ping(&self) {
        self.twitch.counters.add("twitch.irc.ping_sent");
        self.connection.send(&Shared::untagged("PING :tmi.twitch.tv", 0));
    }

    /// Does what a line asks. `Break` means that the connection closes once the answer is written.
    pub(crate) fn on_line(&mut self, raw: &[u8]) -> ControlFlow<()> {
        // Bytes that are no UTF-8 become U+FFFD, one replacement each, as in every text that passes.
        let text = String::from_utf8_lossy(raw);
        let text = if text.contains('\0') { text.replace('\0', "").into() } else { text };
        let Some(line) = ClientLine::parse(&text) else {
            return ControlFlow::Continue(());
        };
        let counters = &self.twitch.counters;
        match line.command.to_ascii_uppercase().as_str() {
            "CAP" => self.cap(&line),
            "PASS" => {
                counters.add("twitch.irc.pass");
                self.pass = Some(line.param(0).to_owned());
            }
            "NICK" => return self.nick(line.param(0)),
            "PING" => self.answer_ping(&line),
            "PONG" => counters.add("twitch.irc.pong_received"),
            "QUIT" => {
                self.connection.close();
                return ControlFlow::Break(());
            }
            "USER" => {}
            command => return self.chat(command, &line),
        }
        ControlFlow::Continue(())
    }

    /// Takes the client out of everything it was in.
    pub(crate) fn leave(&self) {
        let mut state = self.twitch.state();
        let Some(client) = state.clients.remove(&self.connection.number) else {
            return;
        };
        for channel in &client.joined {
            super::channel::remove(&mut state, channel, &client);
        }
        let gone = !state.clients.values().any(|other| other.account.id == client.account.id);
        if gone && !client.anonymous {
            self.twitch.feed.show(bot(&client.account, false));
        }
    }

    fn chat(&mut self, command: &str, line: &ClientLine<'_>) -> ControlFlow<()> {
        let Some(account) = self.account.clone() else {
            self.twitch.counters.add("twitch.irc.before_login");
            return ControlFlow::Continue(());
        };
        match command {
            "JOIN" => self.join(&account, line.param(0)),
            "PART" => self.part(&account, line.param(0)),
            "PRIVMSG" => return self.privmsg(&account, line),
            // Answered by nothing on Twitch, or only by a 421 for what it never knew.
            "WHO" | "NAMES" | "MODE" => {}
            unknown => {
                self.twitch.counters.add("twitch.irc.unknown_command");
                let answer = format!(":tmi.twitch.tv 421 {} {unknown} :Unknown command", account.login);
                self.connection.send(&Shared::untagged(&answer, 0));
            }
        }
        ControlFlow::Continue(())
    }

    fn cap(&self, line: &ClientLine<'_>) {
        self.twitch.counters.add("twitch.irc.cap");
        let asked = line.param(1).trim();
        let answer = match line.param(0).to_ascii_uppercase().as_str() {
            "LS" => format!("LS :{}", caps::ALL),
            "REQ" => {
                let bits: Option<Vec<u8>> = asked.split_whitespace().map(caps::named).collect();
                match bits {
                    Some(bits) => {
                        bits.into_iter().for_each(|bit| self.connection.add_caps(bit));
                        format!("ACK :{asked}")
                    }
                    None => format!("NAK :{asked}"),
                }
            }
            "LIST" => {
                let held = caps::ALL
                    .split(' ')
                    .filter(|name| caps::named(name).is_some_and(|bit| self.connection.has(bit)));
                format!("LIST :{}", held.collect::<Vec<_>>().join(" "))
            }
            // END needs no answer; registration does not wait for it on Twitch.
            _ => return,
        };
        self.connection.send(&Shared::untagged(&format!(":tmi.twitch.tv CAP * {answer}"), 0));
    }

    fn answer_ping(&self, line: &ClientLine<'_>) {
        self.twitch.counters.add("twitch.irc.ping");
        if self.twitch.faults.mutes_pong() {
            return;
        }
        let answer = match line.params.first() {
            Some(token) => format!(":tmi.twitch.tv PONG tmi.twitch.tv :{token}"),
            // tmi.js asks so once a minute, knows only an answer without prefix, and hangs up otherwise.
            None => "PONG".to_owned(),
        };
        self.twitch.counters.add("twitch.irc.pong");
        self.connection.send(&Shared::untagged(&answer, 0));
    }

    fn nick(&mut self, nick: &str) -> ControlFlow<()> {
        if self.account.is_some() {
            return ControlFlow::Continue(());
        }
        let nick = nick.to_ascii_lowercase();
        match self.check(&nick) {
            Ok((account, anonymous)) => {
                self.account = Some(account.clone());
                self.anonymous = anonymous;
                self.welcome(&account);
                ControlFlow::Continue(())
            }
            Err(words) => {
                self.twitch.counters.add("twitch.irc.login_refused");
                self.connection.send(&notice::before_login(words));
                self.connection.close();
                ControlFlow::Break(())
            }
        }
    }

    fn check(&self, nick: &str) -> Result<(Arc<Account>, bool), &'static str> {
        if self.twitch.faults.take_login_refusal() {
            return Err("Login authentication failed");
        }
        let guest = nick.strip_prefix("justinfan");
        if guest.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            return Ok((people::passer_by(nick), true));
        }
        let token = self.pass.as_deref().and_then(|pass| pass.strip_prefix("oauth:"));
        let token = token.filter(|token| !token.is_empty()).ok_or("Improperly formatted auth")?;
        let owner = self.twitch.tokens().irc_login(token).ok_or("Login authentication failed")?;
        let mut state = self.twitch.state();
        let account = state.accounts.get(&owner).filter(|account| account.login == nick).cloned();
        let account = account.ok_or("Login authentication failed")?;
        let record = state.records.entry(account.id.clone()).or_default();
        if !record.may_log_in(&self.twitch.options.limits, Instant::now()) {
            return Err("Login unsuccessful");
        }
        Ok((account, false))
    }

    fn welcome(&self, account: &Arc<Account>) {
        self.twitch.counters.add("twitch.irc.login");
        let login = &account.login;
        let words = [
            ("001", "Welcome, GLHF!"),
            ("002", "Your host is tmi.twitch.tv"),
            ("003", "This server is rather new"),
            ("004", "-"),
            ("375", "-"),
            ("372", "You are in a maze of twisty passages, all alike."),
            ("376", ">"),
        ];
        for (numeric, words) in words {
            let line = format!(":tmi.twitch.tv {numeric} {login} :{words}");
            self.connection.send(&Shared::untagged(&line, 0));
        }
        if !self.anonymous {
            self.connection.send(&global_user_state(account));
        }
        let client = Client {
            connection: self.connection.clone(),
            account: account.clone(),
            anonymous: self.anonymous,
            joined: Default::default(),
        };
        self.twitch.state().clients.insert(self.connection.number, client);
        if !self.anonymous {
            self.twitch.feed.show(bot(account, true));
        }
    }
}

fn bot(account: &Account, online: bool) -> Item {
    Item::Bot { platform: Platform::Twitch, name: account.name.clone(), online }
}

fn global_user_state(account: &Account) -> Shared {
    let tags = Tags::new()
        .plain("badge-info", "")
        .plain("badges", "")
        .plain("color", account.color)
        .text("display-name", &account.name)
        .plain("emote-sets", "0")
        .plain("user-id", &account.id)
        .plain("user-type", "");
    Shared::new(&tags, ":tmi.twitch.tv GLOBALUSERSTATE", caps::COMMANDS)
}
