//! Sending through chat itself. Twitch confirms a message with USERSTATE, and refuses it with a
//! NOTICE whose `msg-id` says why.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actions::Sent;
use protocol::{DropReason, MessageId};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{chat::Chat, irc::escape, rooms::Line};

use super::{Failure, PAUSE};

/// How long Twitch may take to confirm a message.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// What Twitch calls a message that is the same as the one before.
pub const REPEATED: &str = "msg_duplicate";
/// Lines that may stand before a message in its connection's queue.
const AHEAD: usize = 16;

/// What Twitch said of a message.
#[derive(Debug)]
enum Word {
    Taken(Option<MessageId>),
    Refused { reason: DropReason, words: String },
    Repeated { words: String },
}

/// Messages that were sent and wait for Twitch's word: at most one in each channel, because a
/// channel's messages are sent one after the other.
#[derive(Debug, Default)]
pub struct Confirms {
    waiting: Mutex<HashMap<String, Pending>>,
    nonces: AtomicU64,
}

#[derive(Debug)]
struct Pending {
    connection: u64,
    nonce: String,
    told: oneshot::Sender<Word>,
}

impl Confirms {
    /// USERSTATE came. After a JOIN it comes too, then with neither nonce nor id.
    pub fn taken(&self, connection: u64, login: &str, nonce: Option<&str>, id: Option<&str>) {
        let is_for = |pending: &Pending| match nonce {
            Some(nonce) => nonce == pending.nonce,
            None => id.is_some(),
        };
        self.tell(connection, login, is_for, || Word::Taken(id.and_then(|id| MessageId::new(id).ok())));
    }

    /// NOTICE came. Not every one concerns a message.
    pub fn refused(&self, connection: u64, login: &str, msg_id: &str, words: &str) {
        if msg_id == REPEATED {
            self.tell(
                connection,
                login,
                |_| true,
                || Word::Repeated { words: format!("{words} ({msg_id})") },
            );
        } else if let Some(reason) = refusal(msg_id) {
            let word = || Word::Refused { reason, words: format!("{words} ({msg_id})") };
            self.tell(connection, login, |_| true, word);
        }
    }

    /// The connection ended: what it had not confirmed is uncertain.
    pub fn lost(&self, connection: u64) {
        self.lock().retain(|_, pending| pending.connection != connection);
    }

    fn expect(&self, connection: u64, login: &str) -> (String, oneshot::Receiver<Word>) {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("{:016x}{number:016x}", fastrand::u64(..));
        let (told, word) = oneshot::channel();
        self.lock().insert(login.to_owned(), Pending { connection, nonce: nonce.clone(), told });
        (nonce, word)
    }

    fn tell(&self, connection: u64, login: &str, is_for: impl Fn(&Pending) -> bool, word: impl Fn() -> Word) {
        let mut waiting = self.lock();
        if waiting.get(login).is_some_and(|pending| pending.connection == connection && is_for(pending))
            && let Some(pending) = waiting.remove(login)
        {
            // Who no longer waits has reported already.
            let _ = pending.told.send(word());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pending>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection on which a channel is read; waits for one.
///
/// # Errors
/// [`Failure`] when there is none before `until`.
pub async fn line(chat: &Chat, login: &str, until: Instant) -> Result<Line, Failure> {
    let none = || Failure::new(DropReason::NotFound, format!("{login} is none of TWITCH_CHANNELS"));
    let unreachable =
        || Failure::new(DropReason::Unreachable, "not connected to Twitch for longer than this may wait");
    let mut link = chat.rooms.link(login).ok_or_else(none)?;
    let open = |link: &Option<Line>| link.as_ref().is_some_and(|line| !line.lines.is_closed());
    match timeout_at(until, link.wait_for(open)).await {
        Ok(Ok(link)) => link.clone().ok_or_else(unreachable),
        _ => Err(unreachable()),
    }
}

/// Sends one message to a channel at once, as an answer to `reply_to`, and waits for Twitch's word.
///
/// # Errors
/// [`Failure`]; its reason is `Uncertain` when no word came, and it is `unsent` when the connection
/// did not take it at once.
pub async fn send(
    chat: &Chat,
    login: &str,
    line: &Line,
    text: &str,
    reply_to: Option<&MessageId>,
) -> Result<Sent, Failure> {
    let unsent = |detail: &str| Failure::unsent(DropReason::Unreachable, detail, PAUSE);
    // What waits behind others is written later than it is counted.
    if line.lines.max_capacity() - line.lines.capacity() > AHEAD {
        return Err(unsent("the connection does not keep up"));
    }
    let (nonce, word) = chat.confirms.expect(line.connection, login);
    let parent =
        reply_to.map(|id| format!(";reply-parent-msg-id={}", escape(id.as_str()))).unwrap_or_default();
    let message = format!("@client-nonce={nonce}{parent} PRIVMSG #{login} :{text}");
    let started = Instant::now();
    if line.lines.try_send(message).is_err() {
        chat.confirms.lock().remove(login);
        return Err(unsent("the connection ended before the message was written"));
    }
    match timeout(CONFIRM_WITHIN, word).await {
        Ok(Ok(Word::Taken(message))) => Ok(Sent { message, took: started.elapsed() }),
        Ok(Ok(Word::Refused { reason, words })) => Err(Failure::new(reason, words)),
        Ok(Ok(Word::Repeated { words })) => Err(Failure::repeated(words)),
        Ok(Err(_)) => {
            Err(Failure::new(DropReason::Uncertain, "the connection ended before Twitch confirmed"))
        }
        Err(_elapsed) => {
            chat.confirms.lock().remove(login);
            Err(Failure::new(DropReason::Uncertain, "twitch did not confirm the message"))
        }
    }
}

/// What a NOTICE means for the message that was just sent
/// (<https://dev.twitch.tv/docs/chat/irc/#notice-reference>).
fn refusal(msg_id: &str) -> Option<DropReason> {
    Some(match msg_id {
        "msg_ratelimit" => DropReason::RateLimited,
        "msg_banned"
        | "msg_timedout"
        | "no_permission"
        | "msg_suspended"
        | "tos_ban"
        | "msg_requires_verified_phone_number"
        | "msg_verified_email" => DropReason::Forbidden,
        "msg_channel_suspended" => DropReason::NotFound,
        "msg_bad_characters" | "unrecognized_cmd" => DropReason::Invalid,
        "msg_slowmode"
        | "msg_subsonly"
        | "msg_emoteonly"
        | "msg_followersonly"
        | "msg_followersonly_followed"
        | "msg_followersonly_zero"
        | "msg_r9k"
        | "msg_rejected"
        | "msg_rejected_mandatory"
        | "msg_channel_blocked" => DropReason::Refused,
        _ => return None,
    })
}
