//! Tests only: deploys on an engine that is a list, with a failure at any command and a death of this program before,
//! within and after any step. The machine of `plan`, the book and the moves of `crew` are the real ones.

use proptest::prelude::*;
use protocol::control::DeployState;

use crate::{
    book::{Book, KEPT_MAX},
    crew::{self, Container, Goal, Move},
    plan::{Found, Job, STARTS_MAX, Step, Want, Way},
    release::{Crew, Release, Role},
};

const SERVICES: [(&str, Role, u32); 5] = [
    ("provision", Role::Provision, 1),
    ("command-worker", Role::Worker, 3),
    ("discord-gateway", Role::Gateway, 1),
    ("twitch-gateway", Role::Gateway, 2),
    ("healthcheck", Role::Rest, 1),
];
/// More steps than any deploy has, with every failure.
const STEPS_MAX: u32 = 200;

/// What goes wrong, counted in commands to the engine.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// This program is dead after so many commands.
    Death(u32),
    /// The command after so many fails, done or not.
    Failure(u32, bool),
}

/// Why a step did not end well.
enum Stop {
    Dead,
    Failed(String),
}

#[derive(Debug)]
struct World {
    /// What is on the disk.
    journal: String,
    containers: Vec<Container>,
    tag: String,
    made: u32,
    /// The newest version, and whether it works.
    newest: Release,
    good: bool,
    faults: Vec<Fault>,
    commands: u32,
    deaths: u32,
    failures_back: u32,
    /// The fewest workers that ever worked.
    workers_min: usize,
}

fn release(number: u32) -> Release {
    Release {
        name: format!("v{number}"),
        source: format!("source-{number}"),
        commit: None,
        pull: String::new(),
        image: format!("image-{number}"),
        operations: None,
        folder: String::new(),
    }
}

fn newest() -> Want {
    Want::Newest { force: false, commit: None }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            journal: serde_json::to_string(&Book::default()).unwrap(),
            containers: Vec::new(),
            tag: "image-0".to_owned(),
            made: 0,
            newest: release(1),
            good: true,
            faults: Vec::new(),
            commands: 0,
            deaths: 0,
            failures_back: 0,
            workers_min: usize::MAX,
        };
        for (service, _, count) in SERVICES {
            world.make(service, count);
            world.begin(service);
        }
        world.settle();
        world
    }

    fn make(&mut self, service: &str, count: u32) {
        let there = self.of(service).len();
        for _ in there..count as usize {
            self.made += 1;
            self.containers.push(Container {
                id: format!("{:012}", self.made),
                service: service.to_owned(),
                image: self.tag.clone(),
                folder: String::new(),
                created: format!("{:06}", self.made),
                state: "created".to_owned(),
                health: String::new(),
                restarts: 0,
                instance: String::new(),
            });
        }
    }

    fn begin(&mut self, service: &str) {
        let ours = self.containers.iter_mut().filter(|it| it.service == service && it.state != "running");
        for it in ours {
            "running".clone_into(&mut it.state);
            "starting".clone_into(&mut it.health);
        }
    }

    fn of(&self, service: &str) -> Vec<Container> {
        self.containers.iter().filter(|it| it.service == service).cloned().collect()
    }

    fn settle(&mut self) {
        for it in &mut self.containers {
            let good = it.image != self.newest.image || self.good;
            it.health = if good { "healthy" } else { "unhealthy" }.to_owned();
        }
        let workers = self.of("command-worker");
        self.workers_min = self.workers_min.min(workers.iter().filter(|it| it.works()).count());
    }

    /// One command to the engine.
    fn command(&mut self, way: Way, work: impl FnOnce(&mut Self)) -> Result<(), Stop> {
        self.commands += 1;
        let now = self.commands;
        let due = |fault: &Fault| matches!(*fault, Fault::Death(at) | Fault::Failure(at, _) if at == now);
        let fault = self.faults.iter().copied().find(due);
        if !matches!(fault, Some(Fault::Failure(_, false))) {
            work(self);
        }
        match fault {
            Some(Fault::Death(_)) => Err(Stop::Dead),
            Some(Fault::Failure(..)) => {
                self.failures_back += u32::from(way == Way::Back);
                Err(Stop::Failed("the engine does not answer".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn bring(&mut self, goal: &Goal<'_>, way: Way) -> Result<(), Stop> {
        for _ in 0..STEPS_MAX {
            let service = goal.crew.service.as_str();
            match crew::next(goal, &self.of(service)) {
                Move::Arrived => return Ok(()),
                Move::Fail(words, _) => return Err(Stop::Failed(words)),
                Move::Wait(..) => self.settle(),
                // What the engine does one after the other can end between.
                Move::Grow(count) => {
                    self.command(way, |world| world.make(service, count))?;
                    self.command(way, |world| world.begin(service))?;
                }
                Move::Renew(count) => {
                    self.command(way, |world| {
                        world.containers.retain(|it| it.service != service);
                        world.make(service, count);
                    })?;
                    self.command(way, |world| world.begin(service))?;
                }
                Move::End(ids) => {
                    self.command(way, |world| {
                        for it in world.containers.iter_mut().filter(|it| ids.contains(&it.id)) {
                            "exited".clone_into(&mut it.state);
                        }
                        world.settle();
                    })?;
                    self.command(way, |world| world.containers.retain(|it| !ids.contains(&it.id)))?;
                }
            }
        }
        Err(Stop::Failed("it never arrives".to_owned()))
    }

    fn perform(&mut self, job: &Job, book: &Book) -> Result<Found, Stop> {
        let image = job.goal().map(|goal| goal.image.clone()).unwrap_or_default();
        let back = job.way == Way::Back;
        let role = match job.step {
            Step::Resolve => {
                self.command(job.way, |_| {})?;
                return Ok(Found::Target(match &job.want {
                    Want::Newest { .. } => self.newest.clone(),
                    Want::Kept { name } => book.kept_named(name).map_err(Stop::Failed)?.clone(),
                }));
            }
            Step::Fetch | Step::Backup => {
                self.command(job.way, |_| {})?;
                return Ok(Found::Done);
            }
            Step::Preflight => {
                self.command(job.way, |_| {})?;
                return Ok(self.before());
            }
            Step::Prepare => {
                self.command(job.way, |world| world.tag.clone_from(&image))?;
                Role::Provision
            }
            Step::Canary | Step::Workers => Role::Worker,
            Step::Gateways => Role::Gateway,
            Step::Rest => Role::Rest,
            Step::Gate => {
                self.settle();
                let works = self.containers.iter().all(|it| it.image == image && it.works());
                return if works { Ok(Found::Done) } else { Err(Stop::Failed("closed".to_owned())) };
            }
        };
        for crew in job.crew.iter().filter(|crew| crew.role == role) {
            let count = if back { crew.before } else { crew.after };
            let canary = job.step == Step::Canary;
            let count = if canary { 1 } else { count };
            self.bring(&Goal { crew, image: &image, count, old_count: back, beside: canary }, job.way)?;
        }
        Ok(Found::Done)
    }

    fn before(&self) -> Found {
        let image = self.of("command-worker")[0].image.clone();
        let number: u32 = image.rsplit('-').next().unwrap().parse().unwrap();
        let crew = SERVICES.into_iter().map(|(service, role, _)| {
            let old: Vec<String> = self.of(service).into_iter().map(|it| it.id).collect();
            let before = u32::try_from(old.len()).unwrap();
            Crew {
                service: service.to_owned(),
                answers_as: None,
                role,
                operations: false,
                old,
                before,
                after: before,
            }
        });
        Found::Before { from: release(number), crew: crew.collect() }
    }

    fn book(&self) -> Book {
        serde_json::from_str(&self.journal).unwrap()
    }

    fn write(&mut self, book: &Book) {
        self.journal = serde_json::to_string(book).unwrap();
        assert!(self.journal.len() < 1 << 20);
        assert!(book.kept.len() <= KEPT_MAX);
        let current = book.current.as_ref().map(|current| &current.image);
        assert!(book.kept.iter().all(|kept| Some(&kept.image) != current), "{book:?}");
    }

    /// Until nothing goes on any more. A dead program is started again, and knows what was written.
    fn run(&mut self) -> Book {
        for _ in 0..STEPS_MAX {
            let mut book = self.book();
            let Some(job) = book.job.clone() else { return book };
            let begun = book.job.as_mut().map_or(Ok(()), Job::begin);
            self.write(&book);
            let result = match begun.map_err(Stop::Failed).and_then(|()| self.perform(&job, &book)) {
                Ok(found) => Ok(found),
                Err(Stop::Failed(words)) => Err(words),
                Err(Stop::Dead) => {
                    self.deaths += 1;
                    continue;
                }
            };
            book.advance(result, 1);
            self.write(&book);
        }
        panic!("it never ends: {self:?}");
    }

    fn ask(&mut self, want: Want) -> Book {
        let mut book = self.book();
        book.accept("test".to_owned(), want, 1).unwrap();
        self.write(&book);
        self.run()
    }

    /// Every service runs this image, as many as before.
    fn is_all(&self, image: &str) -> bool {
        let counts = SERVICES.iter().all(|(service, _, count)| self.of(service).len() == *count as usize);
        self.tag == image && counts && self.containers.iter().all(|it| it.image == image)
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (1_u32..90).prop_map(Fault::Death),
        ((1_u32..90), any::<bool>()).prop_map(|(at, done)| Fault::Failure(at, done)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_deploy_ends_all_new_or_all_old_whatever_happens_when(
        good: bool,
        faults in proptest::collection::vec(fault(), 0..5),
    ) {
        let mut world = World::new();
        (world.good, world.faults) = (good, faults);
        let book = world.ask(newest());
        let deploy = &book.history[0];
        match deploy.state {
            DeployState::RolledOut => {
                prop_assert!(good && world.is_all("image-1"), "{world:?}");
                prop_assert_eq!(&book.current, &Some(release(1)));
                prop_assert_eq!(&book.kept, &[release(0)]);
            }
            DeployState::RolledBackTo => {
                prop_assert!(world.is_all("image-0"), "{world:?}");
                prop_assert_eq!(book.quarantined.len(), 1);
            }
            DeployState::NeverStarted => {
                prop_assert!(world.is_all("image-0"), "{world:?}");
                prop_assert!(book.quarantined.is_empty());
            }
            DeployState::RollbackFailed => {
                let tries = u32::from(STARTS_MAX);
                prop_assert!(world.failures_back + world.deaths >= tries, "{deploy:?}");
            }
        }
        // A worker was there all the time.
        prop_assert!(world.workers_min >= 3, "{}", world.workers_min);
        prop_assert!(good || deploy.state != DeployState::RolledOut);
        if world.faults.is_empty() {
            let expected = if good { DeployState::RolledOut } else { DeployState::RolledBackTo };
            prop_assert_eq!(deploy.state, expected);
        }
    }

    #[test]
    fn many_deploys_keep_what_can_come_back_and_nothing_else(
        moves in proptest::collection::vec((0_u8..4, any::<bool>(), proptest::collection::vec(fault(), 0..2)), 1..12),
    ) {
        let mut world = World::new();
        let mut number = 0;
        for (what, good, faults) in moves {
            (world.faults, world.commands, world.good) = (faults, 0, true);
            let book = world.book();
            match what {
                0 if !book.kept.is_empty() => {
                    let _ = world.book().accept(String::new(), Want::Kept { name: String::new() }, 1);
                    if book.kept_named("").is_ok() {
                        world.ask(Want::Kept { name: String::new() });
                    }
                }
                1 => {
                    // The same again.
                    world.good = book.current.as_ref().is_some_and(|current| current.source == world.newest.source);
                    world.ask(newest());
                }
                _ => {
                    number += 1;
                    (world.newest, world.good) = (release(number), good);
                    world.ask(newest());
                }
            }
            let book = world.book();
            if book.history.first().is_none_or(|deploy| deploy.state != DeployState::RollbackFailed)
                && let Some(current) = &book.current
            {
                prop_assert!(world.is_all(&current.image), "{world:?}");
            }
            if book.history.iter().any(|deploy| deploy.state == DeployState::RollbackFailed) {
                break;
            }
        }
    }
}

#[test]
fn what_failed_is_not_tried_again_and_what_comes_after_it_is() {
    let mut world = World::new();
    world.good = false;
    assert_eq!(world.ask(newest()).history[0].state, DeployState::RolledBackTo);
    world.good = true;
    let book = world.ask(Want::Newest { force: true, commit: None });
    assert_eq!(book.history[0].state, DeployState::NeverStarted, "{:?}", book.history[0]);
    assert!(book.history[0].words.starts_with("v1 failed before"), "{:?}", book.history[0]);
    world.newest = release(2);
    assert_eq!(world.ask(newest()).history[0].words, "updated to v2");
}

#[test]
fn nothing_new_is_no_deploy_unless_somebody_insists() {
    let mut world = World::new();
    let book = world.ask(newest());
    assert_eq!((book.history.len(), book.untold.len()), (1, 2));
    let book = world.ask(newest());
    assert_eq!(book.history.len(), 1);
    let end = book.last.unwrap().end.unwrap();
    assert!(end.good && end.words == "nothing new: v1 was rolled out last", "{end:?}");
    let ids: Vec<String> = world.containers.iter().map(|it| it.id.clone()).collect();
    let book = world.ask(Want::Newest { force: true, commit: None });
    assert_eq!((book.history.len(), book.history[0].state), (2, DeployState::RolledOut));
    assert!(world.containers.iter().all(|it| !ids.contains(&it.id)));
}

#[test]
fn who_goes_back_is_not_brought_forward_again_and_can_go_further_back() {
    let mut world = World::new();
    for number in 1..=5 {
        world.newest = release(number);
        world.ask(newest());
    }
    let names = |book: &Book| book.kept.iter().map(|kept| kept.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&world.book()), ["v4", "v3", "v2"]);
    let book = world.ask(Want::Kept { name: String::new() });
    assert_eq!(
        (book.current.as_ref().unwrap().name.as_str(), names(&book)),
        ("v4", ["v5", "v3", "v2"].map(str::to_owned).into())
    );
    assert_eq!(world.ask(newest()).history[0].state, DeployState::NeverStarted);
    assert_eq!(world.ask(Want::Kept { name: String::new() }).current.unwrap().name, "v3");
    // Somebody who names it means it.
    let book = world.ask(Want::Kept { name: "v5".to_owned() });
    assert_eq!(book.current.unwrap().name, "v5");
    let refused = world.book().accept(String::new(), Want::Kept { name: "v9".to_owned() }, 1).unwrap_err();
    assert!(refused.starts_with("expected one of the kept versions: "), "{refused}");
}

#[test]
fn what_is_asked_meanwhile_becomes_one() {
    let mut book = Book::default();
    let ask = |book: &mut Book, want| book.accept("cli".to_owned(), want, 7).unwrap();
    let first = ask(&mut book, newest());
    let heard = |commit: &str| Want::Newest { force: false, commit: Some(commit.to_owned()) };
    let second = ask(&mut book, heard("a"));
    assert_eq!(ask(&mut book, Want::Newest { force: true, commit: Some("b".to_owned()) }), second);
    assert_eq!(ask(&mut book, heard("c")), second);
    assert_eq!((book.job.as_ref().unwrap().id.clone(), book.history.len()), (first, 0));
    let waiting = book.next.clone().unwrap().want;
    assert_eq!(waiting, Want::Newest { force: true, commit: Some("c".to_owned()) });
    book.kept.push(release(3));
    let back = ask(&mut book, Want::Kept { name: "v3".to_owned() });
    assert_eq!(book.next.as_ref().unwrap().want, Want::Kept { name: "v3".to_owned() });
    assert_eq!(
        (book.history[0].id.as_str(), book.history[0].state),
        (second.as_str(), DeployState::NeverStarted)
    );
    assert!(book.history[0].words.contains(&back));
    let refused = book.accept("hook:main".to_owned(), heard("d"), 7).unwrap_err();
    assert_eq!(refused, "a rollback to v3 waits: ask again after it");
    assert_eq!(book.next.unwrap().id, back);
}

/// It was taken for the one before what was replaced then, and so went one too far, from a version that was good.
#[test]
fn a_way_back_during_a_deploy_has_a_name() {
    let back = |name: &str| Want::Kept { name: name.to_owned() };
    for (good, words) in [(false, "resolve: v1 runs already"), (true, "updated to v1")] {
        let mut world = World::new();
        let mut book = world.ask(newest());
        (world.newest, world.good) = (release(2), good);
        let id = book.accept(String::new(), newest(), 1).unwrap();
        let refused = book.accept(String::new(), back(""), 1).unwrap_err();
        assert_eq!(refused, format!("{id} goes on: name the version to go back to, or wait for its end"));
        book.accept(String::new(), back("v1"), 1).unwrap();
        world.write(&book);
        let book = world.run();
        assert_eq!((book.history[0].words.as_str(), book.current.unwrap().name.as_str()), (words, "v1"));
    }
}

#[test]
fn what_was_started_by_hand_can_come_back_too() {
    let mut world = World::new();
    world.ask(newest());
    let by_hand = |world: &mut World, number: u32| {
        world.tag = release(number).image;
        world.containers.clear();
        for (service, _, count) in SERVICES {
            world.make(service, count);
            world.begin(service);
        }
    };
    let names = |book: &Book| {
        let kept: Vec<String> = book.kept.iter().map(|kept| kept.name.clone()).collect();
        (book.current.as_ref().unwrap().name.clone(), kept.join(" "))
    };
    by_hand(&mut world, 7);
    world.newest = release(2);
    assert_eq!(names(&world.ask(newest())), ("v2".to_owned(), "v7 v1 v0".to_owned()));
    // A failure comes back to what ran, and that is known too.
    by_hand(&mut world, 8);
    (world.newest, world.good) = (release(3), false);
    assert_eq!(names(&world.ask(newest())), ("v8".to_owned(), "v2 v7 v1".to_owned()));
    assert!(world.is_all("image-8"));
}
