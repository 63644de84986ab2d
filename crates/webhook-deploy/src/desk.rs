//! Tells the deployer that there may be something new. While one question of a hook is under way, the commits that
//! come meanwhile become one, the newest.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bus::{Bus, Link, RequestError};
use protocol::{
    VERSION,
    control::{DeployOrder, DeployReply, DeployRequest},
};
use tokio::{sync::Mutex as Turns, time::timeout};
use tracing::warn;

/// The deployer, in `control.<service>.<verb>`.
const SERVICE: &str = "deploy";
/// How long the deployer may take to say that it will.
const ASK_LIMIT: Duration = Duration::from_millis(900);
/// How long that may take together with waiting for its turn: the forge is answered within a second.
const WHOLE_LIMIT: Duration = Duration::from_millis(950);

/// What came of telling the deployer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It will look.
    Accepted {
        /// The job in which it does.
        job: String,
    },
    /// It will not.
    Refused {
        /// Why.
        reason: String,
    },
    /// Nobody serves it, or NATS is away.
    Nobody,
    /// It may have heard, and has not answered.
    Silent,
}

impl Told {
    /// Whether the same may be taken when it is told again.
    #[must_use]
    pub const fn may_come_later(&self) -> bool {
        matches!(self, Self::Nobody | Self::Silent)
    }
}

/// Where the deliveries of one hook wait for their turn.
#[derive(Debug)]
pub struct Desk {
    /// Who it asks as: `hook:<id>`.
    by: String,
    newest: Mutex<Newest>,
    last: Turns<Last>,
}

#[derive(Clone, Debug, Default)]
struct Newest {
    number: u64,
    commit: Option<String>,
}

/// The last question, and what came of it.
#[derive(Debug)]
struct Last {
    number: u64,
    told: Told,
}

impl Desk {
    /// That of a hook.
    #[must_use]
    pub fn new(by: String) -> Self {
        let last = Turns::new(Last { number: 0, told: Told::Nobody });
        Self { by, newest: Mutex::default(), last }
    }

    /// Who it asks as.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Tells of a commit, or of something without one.
    pub async fn tell(&self, bus: &Bus, commit: Option<String>) -> Told {
        let number = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            *newest = Newest { number: newest.number + 1, commit };
            newest.number
        };
        timeout(WHOLE_LIMIT, self.in_turn(bus, number)).await.unwrap_or(Told::Silent)
    }

    /// Tells of the newest again, and says which that is; `None` where the deployer knows of it.
    pub async fn tell_again(&self, bus: &Bus) -> Option<(Option<String>, Told)> {
        let mut last = self.last.lock().await;
        // Read in its turn: what came while it waited is newer.
        let Newest { number, commit } = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if last.number == number && !last.told.may_come_later() {
            return None;
        }
        let told = self.ask(bus, commit.clone()).await;
        *last = Last { number, told: told.clone() };
        Some((commit, told))
    }

    async fn in_turn(&self, bus: &Bus, number: u64) -> Told {
        let mut last = self.last.lock().await;
        // Whoever had a turn meanwhile has told of the newest, and so of this one.
        if last.number < number {
            let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let told = self.ask(bus, newest.commit).await;
            *last = Last { number: newest.number, told };
        }
        last.told.clone()
    }

    async fn ask(&self, bus: &Bus, commit: Option<String>) -> Told {
        if *bus.link().borrow() == Link::Down {
            return Told::Nobody;
        }
        let order = DeployOrder::Request { commit, force: false };
        let request = DeployRequest { v: VERSION, by: self.by.clone(), order };
        let error = match bus.command(SERVICE, &request, ASK_LIMIT).await {
            Ok(answer) => match answer.reply {
                DeployReply::Accepted { job } => return Told::Accepted { job },
                DeployReply::Refused { reason } => return Told::Refused { reason },
                DeployReply::Status(_) | DeployReply::History { .. } => {
                    warn!(by = self.by, "the deployer answered another question");
                    return Told::Silent;
                }
            },
            Err(error) => error,
        };
        warn!(by = self.by, error = service::chain(&error), "the deployer was not told");
        match error {
            RequestError::NoResponders { .. } | RequestError::NotSent { .. } => Told::Nobody,
            RequestError::TimedOut { .. } | RequestError::Encode(_) | RequestError::Decode(_) => Told::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::control::DeployAnswer;
    use testkit::Nats;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_one_is_under_way_becomes_the_newest() {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let mut orders = bus.obey::<DeployRequest>(SERVICE).await.unwrap();
        bus.round_trip().await;
        let desk = Desk::new("hook:site".to_owned());
        let tell = |commit: &str| desk.tell(&bus, Some(commit.to_owned()));
        let deployer = async {
            let mut heard = Vec::new();
            for job in ["first", "second"] {
                let ordered = orders.next().await.unwrap();
                heard.push(ordered.order.order.clone());
                let reply = DeployReply::Accepted { job: job.to_owned() };
                ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
            }
            heard
        };
        // All are told before the deployer can answer the first.
        let (a, b, c, d, heard) = tokio::join!(tell("a"), tell("b"), tell("c"), tell("d"), deployer);
        let accepted = |job: &str| Told::Accepted { job: job.to_owned() };
        assert_eq!(a, accepted("first"));
        assert_eq!([b, c, d], [(); 3].map(|()| accepted("second")));
        let of = |commit: &str| DeployOrder::Request { commit: Some(commit.to_owned()), force: false };
        assert_eq!(heard, [of("a"), of("d")]);
    }

    #[tokio::test]
    async fn what_is_told_again_is_what_came_last_also_while_it_waited() {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let desk = Desk::new("hook:site".to_owned());
        assert_eq!(desk.tell(&bus, Some("a".to_owned())).await, Told::Nobody);
        let mut orders = bus.obey::<DeployRequest>(SERVICE).await.unwrap();
        bus.round_trip().await;
        let deployer = async {
            let ordered = orders.next().await.unwrap();
            let heard = ordered.order.order.clone();
            let reply = DeployReply::Accepted { job: "first".to_owned() };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
            heard
        };
        // Somebody else has the turn when it wants to tell of "a" again, and "b" comes before it is over.
        let turn = desk.last.lock().await;
        let later = async {
            desk.newest.lock().unwrap().number += 1;
            desk.newest.lock().unwrap().commit = Some("b".to_owned());
            drop(turn);
        };
        let (again, (), heard) = tokio::join!(desk.tell_again(&bus), later, deployer);
        let of = |commit: &str| DeployOrder::Request { commit: Some(commit.to_owned()), force: false };
        assert_eq!(heard, of("b"));
        assert_eq!(again, Some((Some("b".to_owned()), Told::Accepted { job: "first".to_owned() })));
        assert_eq!(desk.tell_again(&bus).await, None, "the deployer knows of it");
    }
}
