//! How the containers of one service come from one version to another, one command at a time: what is to be done
//! next is said by what there is now, so that it can be begun again at any moment.

use crate::release::{Crew, Role};

/// A container that came back so often by itself does not work.
const RESTARTS_MAX: u64 = 2;

/// A container, as the engine tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// The service that it belongs to.
    pub service: String,
    /// The id of its image.
    pub image: String,
    /// The folder whose compose file it was made by.
    pub folder: String,
    /// When it was made, as the engine writes it.
    pub created: String,
    /// `running`, `exited`, `restarting`, …
    pub state: String,
    /// `healthy`, `unhealthy` or `starting`; empty without a health check.
    pub health: String,
    /// How often the engine started it again.
    pub restarts: u64,
    /// How it calls itself on NATS; one that ends with `-` goes on with the number of its process.
    pub instance: String,
}

/// Where one service is to go.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// The service.
    pub crew: &'a Crew,
    /// The id of the image.
    pub image: &'a str,
    /// How many.
    pub count: u32,
    /// Whether containers that were there before count: they do on the way back.
    pub old_count: bool,
    /// Whether others may stay.
    pub beside: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing: it is there.
    Arrived,
    /// Have so many of them in all, start those that do not run, and touch none that does.
    Grow(u32),
    /// Make them all anew, so many.
    Renew(u32),
    /// Look again soon: what is waited for, and whose log says more.
    Wait(String, String),
    /// End and remove these.
    End(Vec<String>),
    /// It will not work: why, and whose log says more.
    Fail(String, String),
}

/// What to do next, where these are all containers of the service.
#[must_use]
pub fn next(goal: &Goal<'_>, all: &[Container]) -> Move {
    let count = goal.count as usize;
    let is_old = |it: &Container| goal.crew.old.contains(&it.id);
    let counts = |it: &&Container| it.image == goal.image && (goal.old_count || !is_old(it));
    // Made and never started, or ended by a deploy that did not come so far as to remove it.
    let asleep = |it: &&Container| it.state == "created" || (it.state == "exited" && is_old(it));
    let (asleep, mut ours): (Vec<&Container>, Vec<&Container>) = all.iter().filter(counts).partition(asleep);
    if ours.len() < count {
        return match goal.crew.role {
            // Those that sleep are started too.
            Role::Worker | Role::Gateway => {
                Move::Grow(number(all.len() + count.saturating_sub(ours.len() + asleep.len())))
            }
            Role::Rest | Role::Provision => Move::Renew(goal.count),
        };
    }
    // On the way back it is enough that they are as they were; none that has just been started is yet.
    let as_it_was = |it: &&&Container| goal.old_count && is_old(it) && it.health != "starting";
    if let Some(bad) = ours.iter().find(|it| it.fails() && !as_it_was(it)) {
        return Move::Fail(format!("{}: {}", bad.service, bad.words()), bad.id.clone());
    }
    if let Some(slow) = ours.iter().find(|it| !it.works() && !as_it_was(it)) {
        return Move::Wait(format!("{}: {}", slow.service, slow.words()), slow.id.clone());
    }
    if goal.beside {
        return Move::Arrived;
    }
    // The eldest stay.
    ours.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let stay: Vec<&str> = ours.iter().take(count).map(|it| it.id.as_str()).collect();
    let rest: Vec<String> =
        all.iter().filter(|it| !stay.contains(&it.id.as_str())).map(|it| it.id.clone()).collect();
    if rest.is_empty() { Move::Arrived } else { Move::End(rest) }
}

impl Container {
    /// Whether it does its work.
    #[must_use]
    pub fn works(&self) -> bool {
        self.state == "running" && matches!(self.health.as_str(), "healthy" | "")
    }

    /// Whether it will not.
    #[must_use]
    pub fn fails(&self) -> bool {
        matches!(self.state.as_str(), "exited" | "dead" | "removing")
            || self.health == "unhealthy"
            || self.restarts >= RESTARTS_MAX
    }

    /// How it is, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let short = self.id.get(..12).unwrap_or(&self.id);
        let health = if self.health.is_empty() { String::new() } else { format!(", {}", self.health) };
        let again =
            if self.restarts == 0 { String::new() } else { format!(", restarted {} times", self.restarts) };
        format!("container {short} is {}{health}{again}", self.state)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "sha256:old";
    const NEW: &str = "sha256:new";

    /// An engine of one service.
    #[derive(Clone, Debug)]
    struct Engine {
        made: u32,
        tag: &'static str,
        /// Whether containers of the new image get healthy.
        good: bool,
        all: Vec<Container>,
    }

    impl Engine {
        fn new(count: u32, good: bool) -> Self {
            let mut engine = Self { made: 0, tag: OLD, good: true, all: Vec::new() };
            engine.grow(count);
            engine.look();
            Self { tag: NEW, good, ..engine }
        }

        fn grow(&mut self, count: u32) {
            for it in self.all.iter_mut().filter(|it| it.state != "running") {
                "running".clone_into(&mut it.state);
                "starting".clone_into(&mut it.health);
            }
            while number(self.all.len()) < count {
                self.made += 1;
                self.all.push(Container {
                    id: format!("{:012}", self.made),
                    service: "it".to_owned(),
                    image: self.tag.to_owned(),
                    folder: String::new(),
                    created: format!("{:04}", self.made),
                    state: "running".to_owned(),
                    health: "starting".to_owned(),
                    restarts: 0,
                    instance: String::new(),
                });
            }
        }

        /// Time passes.
        fn look(&mut self) -> Vec<Container> {
            for it in &mut self.all {
                let good = it.image == OLD || self.good;
                it.health = if good { "healthy" } else { "unhealthy" }.to_owned();
            }
            self.all.clone()
        }

        fn working(&self) -> usize {
            self.all.iter().filter(|it| it.works()).count()
        }

        fn obey(&mut self, what: &Move) {
            match what {
                Move::Grow(count) => self.grow(*count),
                Move::Renew(count) => {
                    self.all.clear();
                    self.grow(*count);
                }
                Move::End(ids) => self.all.retain(|it| !ids.contains(&it.id)),
                Move::Arrived | Move::Wait(..) | Move::Fail(..) => {}
            }
        }
    }

    fn crew(role: Role, engine: &Engine, after: u32) -> Crew {
        Crew {
            service: "it".to_owned(),
            answers_as: None,
            role,
            operations: false,
            old: engine.all.iter().map(|it| it.id.clone()).collect(),
            before: number(engine.all.len()),
            after,
        }
    }

    /// Goes there, with this program dead after some of the commands; `Err` when it cannot.
    fn go(goal: &Goal<'_>, engine: &mut Engine, floor: usize) -> Result<(), String> {
        for _ in 0..40 {
            let what = next(goal, &engine.all);
            match &what {
                Move::Arrived => return Ok(()),
                Move::Fail(why, _) => return Err(why.clone()),
                Move::Wait(..) => {
                    engine.look();
                }
                _ => engine.obey(&what),
            }
            assert!(engine.working() >= floor, "{what:?} left {:?}", engine.all);
        }
        Err("it never arrives".to_owned())
    }

    proptest! {
        #[test]
        fn a_good_version_comes_without_a_gap_and_a_bad_one_goes_without_a_trace(
            before in 1_u32..5,
            after in 1_u32..5,
            good: bool,
            canary: bool,
            halves in 0_u32..4,
        ) {
            let mut engine = Engine::new(before, good);
            let crew = crew(Role::Worker, &engine, after);
            let forth = Goal { crew: &crew, image: NEW, count: after, old_count: false, beside: false };
            let floor = before.min(after) as usize;
            if canary {
                let canary = Goal { count: 1, beside: true, ..forth };
                prop_assert_eq!(go(&canary, &mut engine, before as usize).is_ok(), good);
            }
            // A command that did half of what it was to do, and then nobody was there to see.
            if halves > 0 {
                engine.grow(before + halves.min(after));
                engine.look();
            }
            let arrived = go(&forth, &mut engine, floor);
            prop_assert_eq!(arrived.is_ok(), good);
            if good {
                prop_assert!(engine.all.iter().all(|it| it.image == NEW));
                prop_assert_eq!(engine.all.len(), after as usize);
            } else {
                engine.tag = OLD;
                let back = Goal { image: OLD, count: before, old_count: true, ..forth };
                prop_assert!(go(&back, &mut engine, floor).is_ok());
                let now: Vec<&String> = engine.all.iter().map(|it| &it.id).collect();
                // The very ones that ran before.
                prop_assert_eq!(now, crew.old.iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_cannot_run_twice_is_made_anew_and_a_service_that_was_not_there_goes_again() {
        let mut engine = Engine::new(1, true);
        let crew = crew(Role::Rest, &engine, 1);
        let forth = Goal { crew: &crew, image: NEW, count: 1, old_count: false, beside: false };
        assert_eq!(next(&forth, &engine.all), Move::Renew(1));
        go(&forth, &mut engine, 0).unwrap();
        assert_eq!(engine.all[0].image, NEW);
        let gone = Goal { image: OLD, count: 0, old_count: true, ..forth };
        go(&gone, &mut engine, 0).unwrap();
        assert_eq!(engine.all, []);
    }

    #[test]
    fn one_that_ends_again_and_again_is_not_waited_for() {
        let mut engine = Engine::new(1, true);
        let crew = crew(Role::Gateway, &engine, 1);
        let goal = Goal { crew: &crew, image: NEW, count: 1, old_count: false, beside: false };
        engine.grow(2);
        assert!(matches!(next(&goal, &engine.all), Move::Wait(..)));
        engine.all[1].restarts = 2;
        let Move::Fail(words, id) = next(&goal, &engine.all) else { panic!() };
        assert_eq!(words, "it: container 000000000002 is running, starting, restarted 2 times");
        assert_eq!(id, "000000000002");
    }

    #[test]
    fn one_that_was_made_and_never_started_is_started() {
        let mut engine = Engine::new(1, true);
        let crew = crew(Role::Worker, &engine, 1);
        let goal = Goal { crew: &crew, image: NEW, count: 1, old_count: false, beside: true };
        engine.grow(2);
        engine.all[1].state = "created".to_owned();
        assert_eq!(next(&goal, &engine.all), Move::Grow(2));
        go(&goal, &mut engine, 1).unwrap();
        assert!(engine.all.iter().all(Container::works));
    }

    #[test]
    fn on_the_way_back_the_new_ones_work_until_the_old_ones_do_again() {
        let mut engine = Engine::new(2, true);
        let crew = crew(Role::Gateway, &engine, 2);
        engine.grow(4);
        engine.look();
        // They were asked to end, and then not removed.
        engine.all[..2].iter_mut().for_each(|it| it.state = "exited".to_owned());
        engine.tag = OLD;
        let back = Goal { crew: &crew, image: OLD, count: 2, old_count: true, beside: false };
        assert_eq!(next(&back, &engine.all), Move::Grow(4));
        go(&back, &mut engine, 2).unwrap();
        assert_eq!(
            engine.all.iter().map(|it| &it.id).collect::<Vec<_>>(),
            crew.old.iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_same_image_again_is_still_another_container() {
        let mut engine = Engine::new(2, true);
        engine.tag = OLD;
        let crew = crew(Role::Worker, &engine, 2);
        let goal = Goal { crew: &crew, image: OLD, count: 2, old_count: false, beside: false };
        go(&goal, &mut engine, 2).unwrap();
        assert!(engine.all.iter().all(|it| !crew.old.contains(&it.id)));
    }
}
