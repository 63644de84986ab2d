//! PRIVMSG from a bot over IRC: what it may say, and the USERSTATE or NOTICE that answers it.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use super::{channel::user_state, line::ClientLine, login::Session, tags};
use crate::twitch::{
    people::Account,
    post::{Attempt, Rejected},
};

/// Longest `client-nonce` that is given back, in bytes.
const MAX_NONCE_BYTES: usize = 64;

impl Session {
    pub(super) fn privmsg(&self, account: &Arc<Account>, line: &ClientLine<'_>) -> ControlFlow<()> {
        let started = Instant::now();
        let counters = &self.twitch.counters;
        counters.add("twitch.privmsg.in");
        if self.anonymous {
            counters.add("twitch.privmsg.refused.anonymous");
            return ControlFlow::Continue(());
        }
        let login = line.param(0).trim_start_matches('#').to_ascii_lowercase();
        let nonce = tags::find(line.tags, "client-nonce").unwrap_or_default();
        let nonce = if nonce.len() <= MAX_NONCE_BYTES { &*nonce } else { "" };
        let reply_to = tags::find(line.tags, "reply-parent-msg-id");
        let mut state = self.twitch.state();
        let said = self.twitch.bot_says(
            &mut state,
            &Attempt {
                account,
                channel: &login,
                text: line.param(1),
                reply_to: reply_to.as_deref(),
                nonce,
                except: Some(self.connection.number),
                chat_bot: false,
                started,
            },
        );
        match said {
            Ok(said) => {
                self.connection.send(&user_state(account, said.standing, &login, nonce, Some(&said.id)));
            }
            Err(Rejected::Told(notice)) => {
                counters.add(&format!("twitch.privmsg.refused.{}", notice.id()));
                self.connection.send(&notice.line(&login));
            }
            Err(Rejected::Silently(why)) => counters.add(&format!("twitch.privmsg.refused.{why}")),
            Err(Rejected::Disconnect) => {
                self.connection.close();
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}
