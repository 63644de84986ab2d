//! Sending through chat itself. Twitch confirms a message with USERSTATE, and refuses it with a
//! NOTICE whose `msg-id` says why.

use std::{
    collections::{HashMap, VecDeque},
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
/// A connection on which Twitch owes an answer for longer is closed for its silence.
const OWED_WITHIN: Duration = Duration::from_secs(60);
/// Messages of a channel to which Twitch owes an answer; of more, the oldest is forgotten.
const MAX_OWED: usize = 16;
/// Lines that may stand before a message in its connection's queue.
const AHEAD: usize = 16;

/// What Twitch said of a message.
#[derive(Debug)]
enum Word {
    Taken(Option<MessageId>),
    Refused { reason: DropReason, words: String },
    Repeated { words: String },
}

/// Messages that were sent and wait for Twitch's word. A channel's messages are sent one after the other,
/// but one that is given up still has its answer coming, and a NOTICE does not say what it is about:
/// Twitch answers in order, so it is about the oldest.
#[derive(Debug, Default)]
pub struct Confirms {
    owed: Mutex<HashMap<String, VecDeque<Owed>>>,
    nonces: AtomicU64,
}

#[derive(Debug)]
struct Owed {
    connection: u64,
    nonce: String,
    since: Instant,
    told: oneshot::Sender<Word>,
}

impl Confirms {
    /// USERSTATE came. After a JOIN it comes too, then with neither nonce nor id.
    pub fn taken(&self, connection: u64, login: &str, nonce: Option<&str>, id: Option<&str>) {
        let word = || Word::Taken(id.and_then(|id| MessageId::new(id).ok()));
        match nonce {
            Some(nonce) => self.tell(connection, login, |owed| owed.nonce == nonce, word),
            None if id.is_some() => self.tell(connection, login, |_| true, word),
            None => {}
        }
    }

    /// NOTICE came. Not every one concerns a message.
    pub fn refused(&self, connection: u64, login: &str, msg_id: &str, words: &str) {
        let words = format!("{words} ({msg_id})");
        let word = match refusal(msg_id) {
            _ if msg_id == REPEATED => Word::Repeated { words },
            Some(reason) => Word::Refused { reason, words },
            None => return,
        };
        self.tell(connection, login, |_| true, || word);
    }

    /// The connection ended: what it had not confirmed is uncertain.
    pub fn lost(&self, connection: u64) {
        self.lock().retain(|_, owed| {
            owed.retain(|owed| owed.connection != connection);
            !owed.is_empty()
        });
    }

    fn expect(&self, connection: u64, login: &str) -> (String, oneshot::Receiver<Word>) {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("{:016x}{number:016x}", fastrand::u64(..));
        let (told, word) = oneshot::channel();
        let mut all = self.lock();
        let owed = all.entry(login.to_owned()).or_default();
        owed.retain(|owed| owed.since.elapsed() < OWED_WITHIN);
        if owed.len() == MAX_OWED {
            owed.pop_front();
        }
        owed.push_back(Owed { connection, nonce: nonce.clone(), since: Instant::now(), told });
        (nonce, word)
    }

    /// It was not written: nobody will answer it.
    fn forget(&self, login: &str, nonce: &str) {
        if let Some(owed) = self.lock().get_mut(login) {
            owed.retain(|owed| owed.nonce != nonce);
        }
    }

    /// Tells the first that it is for. What came before that on the same connection is answered no more.
    fn tell(
        &self,
        connection: u64,
        login: &str,
        is_for: impl Fn(&Owed) -> bool,
        word: impl FnOnce() -> Word,
    ) {
        let mut all = self.lock();
        let Some(owed) = all.get_mut(login) else { return };
        owed.retain(|owed| owed.since.elapsed() < OWED_WITHIN);
        let Some(at) = owed.iter().position(|owed| owed.connection == connection && is_for(owed)) else {
            return;
        };
        // Who no longer waits has reported already.
        let _ = owed.remove(at).map(|owed| owed.told.send(word()));
        let mut place = 0..at;
        owed.retain(|owed| place.next().is_none() || owed.connection != connection);
        if owed.is_empty() {
            all.remove(login);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, VecDeque<Owed>>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
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
        chat.confirms.forget(login, &nonce);
        return Err(unsent("the connection ended before the message was written"));
    }
    match timeout(CONFIRM_WITHIN, word).await {
        Ok(Ok(Word::Taken(message))) => Ok(Sent { message, took: started.elapsed() }),
        Ok(Ok(Word::Refused { reason, words })) => Err(Failure::new(reason, words)),
        Ok(Ok(Word::Repeated { words })) => Err(Failure::repeated(words)),
        Ok(Err(_)) => {
            Err(Failure::new(DropReason::Uncertain, "the connection ended before Twitch confirmed"))
        }
        Err(_elapsed) => Err(Failure::new(DropReason::Uncertain, "twitch did not confirm the message")),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What was told by now.
    fn told(word: &mut oneshot::Receiver<Word>) -> Option<Word> {
        word.try_recv().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_refusal_is_not_taken_for_that_of_the_next_message() {
        let confirms = Confirms::default();
        let (_, given_up) = confirms.expect(1, "olive");
        drop(given_up);
        let (nonce, mut next) = confirms.expect(1, "olive");
        // It would be said again in other words, and had been said.
        confirms.refused(1, "olive", REPEATED, "identical");
        assert!(told(&mut next).is_none());
        confirms.taken(1, "olive", Some(&nonce), Some("id"));
        assert!(matches!(told(&mut next), Some(Word::Taken(Some(_)))));
        assert!(confirms.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_answered_is_over_with_the_next_answer_or_after_a_while() {
        let confirms = Confirms::default();
        let (_, _unanswered) = confirms.expect(1, "olive");
        let (_, _on_another_connection) = confirms.expect(2, "olive");
        let (nonce, _confirmed) = confirms.expect(1, "olive");
        confirms.taken(1, "olive", Some(&nonce), Some("id"));
        assert_eq!(confirms.lock()["olive"].len(), 1);
        let (_, mut refused) = confirms.expect(1, "olive");
        confirms.refused(1, "olive", "msg_slowmode", "slow");
        assert!(matches!(told(&mut refused), Some(Word::Refused { reason: DropReason::Refused, .. })));
        let (_, _ignored) = confirms.expect(1, "olive");
        tokio::time::advance(OWED_WITHIN).await;
        let (_, mut refused) = confirms.expect(1, "olive");
        confirms.refused(1, "olive", REPEATED, "identical");
        assert!(matches!(told(&mut refused), Some(Word::Repeated { .. })));
        confirms.lost(1);
        confirms.lost(2);
        assert!(confirms.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_never_come_are_not_kept_for_ever() {
        let confirms = Confirms::default();
        for _ in 0..MAX_OWED * 2 {
            confirms.expect(1, "olive");
        }
        assert_eq!(confirms.lock()["olive"].len(), MAX_OWED);
    }
}
