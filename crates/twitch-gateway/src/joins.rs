//! Which channels one connection has still to join, has asked for, has. It does not speak itself.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// JOINs, and logins, of the account in [`JOIN_WINDOW`]: Twitch's 20 in 10 s, with margin.
pub const JOINS: usize = 18;
/// See [`JOINS`].
pub const JOIN_WINDOW: Duration = Duration::from_secs(11);
/// Channels on one connection; more are said to make Twitch drop lines.
pub const PER_CONNECTION: usize = 90;
/// Between two tries to join a channel that Twitch refused, doubled each time.
const RETRY: std::ops::Range<Duration> = Duration::from_secs(60)..Duration::from_secs(15 * 60);

/// What the join of a channel came to, when it came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The channel.
    pub login: String,
    /// Twitch's words.
    pub reason: String,
}

/// The joins of one connection.
#[derive(Debug)]
pub struct Joins {
    /// How long Twitch may take to confirm.
    ack_within: Duration,
    queue: VecDeque<String>,
    asked: HashMap<String, Instant>,
    joined: HashSet<String>,
    refused: HashMap<String, Retry>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    /// How long to wait the next time.
    pause: Duration,
    reason: String,
}

impl Joins {
    /// All of `logins` are to be joined; a join is confirmed by ROOMSTATE `ack_within`.
    #[must_use]
    pub fn new(logins: &[String], ack_within: Duration) -> Self {
        Self {
            ack_within,
            queue: logins.iter().cloned().collect(),
            asked: HashMap::new(),
            joined: HashSet::new(),
            refused: HashMap::new(),
        }
    }

    /// From now on these are to be joined and no others; gives those that are to be left.
    pub fn set(&mut self, logins: &[String]) -> Vec<String> {
        let wanted: HashSet<&String> = logins.iter().collect();
        let open = self.joined.iter().chain(self.asked.keys());
        let left = open.filter(|login| !wanted.contains(login)).cloned().collect();
        self.queue.retain(|login| wanted.contains(login));
        self.asked.retain(|login, _| wanted.contains(login));
        self.joined.retain(|login| wanted.contains(login));
        self.refused.retain(|login, _| wanted.contains(login));
        for login in logins {
            let known = self.asked.contains_key(login)
                || self.joined.contains(login)
                || self.refused.contains_key(login)
                || self.queue.contains(login);
            if !known {
                self.queue.push_back(login.clone());
            }
        }
        left
    }

    /// Whether there is a channel to ask for now.
    #[must_use]
    pub fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The channel to ask for now. Call it when the JOIN is about to be sent.
    pub fn next(&mut self) -> Option<String> {
        let login = self.queue.pop_front()?;
        self.asked.insert(login.clone(), Instant::now() + self.ack_within);
        Some(login)
    }

    /// Twitch confirmed a channel. `true` when it had been asked for: ROOMSTATE also tells later changes.
    pub fn confirmed(&mut self, login: &str) -> bool {
        let asked = self.asked.remove(login).is_some();
        // A confirmation that came too late is one all the same.
        let confirmed = self.refused.remove(login).is_some() || asked;
        if confirmed {
            self.joined.insert(login.to_owned());
        }
        confirmed
    }

    /// Whether Twitch confirmed a channel.
    #[must_use]
    pub fn is_joined(&self, login: &str) -> bool {
        self.joined.contains(login)
    }

    /// Twitch refused a channel that was asked for; `None` when it was not.
    pub fn refused(&mut self, login: &str, reason: String) -> Option<Refusal> {
        self.asked.remove(login)?;
        let pause = self.refused.get(login).map_or(RETRY.start, |retry| retry.pause);
        let retry =
            Retry { at: Instant::now() + pause, pause: (pause * 2).min(RETRY.end), reason: reason.clone() };
        self.refused.insert(login.to_owned(), retry);
        Some(Refusal { login: login.to_owned(), reason })
    }

    /// Gives up on what was not confirmed in time, and queues again what was refused long ago.
    pub fn look_at_the_clock(&mut self) -> Vec<Refusal> {
        let now = Instant::now();
        let late = self.asked.iter().filter(|(_, by)| **by <= now).map(|(login, _)| login.clone());
        let late = late.collect::<Vec<_>>();
        let again = self.retries().filter(|(_, retry)| retry.at <= now);
        let again = again.map(|(login, _)| login.clone()).collect::<Vec<_>>();
        self.queue.extend(again);
        let reason = "twitch did not confirm the join: is the name right?";
        late.into_iter().filter_map(|login| self.refused(&login, reason.to_owned())).collect()
    }

    /// When to look at the clock next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.asked.values().copied().chain(self.retries().map(|(_, retry)| retry.at)).min()
    }

    /// Why a channel is not joined, if Twitch refused it.
    #[must_use]
    pub fn refusal(&self, login: &str) -> Option<&str> {
        self.refused.get(login).map(|retry| retry.reason.as_str())
    }

    /// Whether each channel was confirmed or refused at least once.
    #[must_use]
    pub fn settled(&self) -> bool {
        let open = self.queue.iter().chain(self.asked.keys());
        open.filter(|login| !self.refused.contains_key(*login)).count() == 0
    }

    /// What was refused and is not asked for again yet.
    fn retries(&self) -> impl Iterator<Item = (&String, &Retry)> {
        let idle = |login: &String| !self.asked.contains_key(login) && !self.queue.contains(login);
        self.refused.iter().filter(move |(login, _)| idle(login))
    }
}

/// Whether a NOTICE with this `msg-id` says that a channel cannot be joined.
#[must_use]
pub fn is_refusal(msg_id: &str) -> bool {
    matches!(
        msg_id,
        "msg_banned" | "msg_channel_suspended" | "msg_channel_blocked" | "tos_ban" | "no_permission"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_join_is_confirmed_or_given_up_and_tried_again() {
        let mut joins = Joins::new(&["a".to_owned(), "b".to_owned()], ACK);
        assert_eq!(
            (joins.next().as_deref(), joins.next().as_deref(), joins.next()),
            (Some("a"), Some("b"), None)
        );
        assert!(joins.confirmed("a") && !joins.confirmed("a") && !joins.settled());
        tokio::time::advance(ACK).await;
        let given_up = joins.look_at_the_clock();
        assert_eq!(given_up.len(), 1);
        assert!(joins.settled() && !joins.has_next());
        tokio::time::advance(RETRY.start).await;
        assert!(joins.look_at_the_clock().is_empty() && joins.settled());
        assert_eq!(joins.next().as_deref(), Some("b"));
        assert!(joins.refused("b", "banned".to_owned()).is_some());
        assert_eq!(joins.wake_at().unwrap() - Instant::now(), RETRY.start * 2);
        assert!(joins.refused("b", "said again".to_owned()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_joined_may_change() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut joins = Joins::new(&names(&["a", "b", "c"]), ACK);
        joins.next();
        joins.next();
        joins.confirmed("a");
        let mut left = joins.set(&names(&["c", "d"]));
        left.sort();
        assert_eq!(left, ["a", "b"], "one that was asked for would be confirmed yet");
        assert!(!joins.confirmed("b") && !joins.is_joined("a"));
        assert_eq!(
            (joins.next().as_deref(), joins.next().as_deref(), joins.next()),
            (Some("c"), Some("d"), None)
        );
        assert_eq!(joins.set(&names(&["a", "c", "d"])), Vec::<String>::new());
        assert_eq!(joins.next().as_deref(), Some("a"));
    }
}
