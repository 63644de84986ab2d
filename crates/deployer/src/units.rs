//! How the units of one service come from one version to another: in their places, since systemd starts them there
//! after a reboot, one by one, while a helper of the new version (`@0`) stands in for the one that is away.

use crate::{
    crew::{Container, Goal, Move},
    release::Role,
    stack::Service,
};

/// The services that are replaced, with their part in it, and whether their units are numbered.
pub const SERVICES: [(&str, Role, bool); 7] = [
    ("provision", Role::Provision, false),
    ("command-worker", Role::Worker, true),
    ("discord-gateway", Role::Gateway, true),
    ("twitch-gateway", Role::Gateway, true),
    ("healthcheck", Role::Rest, false),
    ("backup", Role::Rest, false),
    ("webhook-deploy", Role::Rest, false),
];
/// The highest number of a unit; 0 is the helper.
const NUMBER_MAX: u8 = 9;

/// The names of all units that a service may have, without `.service`.
#[must_use]
pub fn units_of(service: &str) -> Vec<String> {
    match SERVICES.iter().find(|(name, ..)| *name == service) {
        Some((name, _, true)) => (0..=NUMBER_MAX).map(|number| format!("vigie-{name}@{number}")).collect(),
        Some((name, _, false)) => vec![format!("vigie-{name}")],
        None => Vec::new(),
    }
}

/// The service of a unit; `None` for one that is not replaced.
#[must_use]
pub fn service_of(unit: &str) -> Option<&'static str> {
    SERVICES.iter().map(|(name, ..)| *name).find(|name| units_of(name).iter().any(|known| known == unit))
}

/// The one that stands in for another.
#[must_use]
pub fn helper(service: &str) -> String {
    format!("vigie-{service}@0")
}

/// Whether this is one.
#[must_use]
pub fn is_helper(it: &Container) -> bool {
    unit_of(&it.id) == helper(&it.service)
}

/// The services of every version. None begins by itself: a unit that is off stays so.
#[must_use]
pub fn services() -> Vec<Service> {
    let services = SERVICES.into_iter().map(|(name, role, _)| Service {
        name: name.to_owned(),
        answers_as: (role != Role::Provision).then(|| name.to_owned()),
        role,
        operations: false,
        count: 0,
    });
    services.collect()
}

/// One run of a unit: what runs after a restart is another.
#[must_use]
pub fn id(unit: &str, invocation: &str) -> String {
    format!("{unit}#{invocation}")
}

/// The unit of a run.
#[must_use]
pub fn unit_of(id: &str) -> &str {
    id.split('#').next().unwrap_or_default()
}

/// The units that are to run: those that did, and the helper while it is needed.
#[must_use]
pub fn wanted(goal: &Goal<'_>) -> Vec<String> {
    let mut units: Vec<String> = goal.crew.old.iter().map(|id| unit_of(id).to_owned()).collect();
    let helper = helper(&goal.crew.service);
    units.retain(|unit| *unit != helper && units_of(&goal.crew.service).contains(unit));
    if goal.beside {
        units.clear();
    }
    if matches!(goal.crew.role, Role::Worker | Role::Gateway) {
        units.push(helper);
    }
    units
}

/// What to do next, where these are all units of the service that run.
#[must_use]
pub fn next(goal: &Goal<'_>, all: &[Container]) -> Move {
    let helper = helper(&goal.crew.service);
    let at = |unit: &str| all.iter().find(|it| unit_of(&it.id) == unit);
    let is_old = |it: &Container| goal.crew.old.contains(&it.id);
    let counts = |it: &Container| it.image == goal.image && (goal.old_count || !is_old(it));
    let wanted = wanted(goal);
    // What systemd had given up on before is nobody's to judge.
    let ours = |it: &&Container| wanted.iter().any(|unit| unit == unit_of(&it.id)) && counts(it);
    for it in all.iter().filter(ours) {
        // On the way back it is enough that they are as they were, and a helper that does not help is no reason to stop.
        let as_it_was = goal.old_count && is_old(it) && it.health != "starting";
        let of_no_use = goal.old_count && unit_of(&it.id) == helper;
        if it.fails() && !as_it_was && !of_no_use {
            return Move::Fail(format!("{}: {}", it.service, it.words()), it.id.clone());
        }
        if !it.works() && !it.fails() && !as_it_was {
            return Move::Wait(format!("{}: {}", it.service, it.words()), it.id.clone());
        }
    }
    let missing: Vec<&String> =
        wanted.iter().filter(|unit| **unit != helper && !at(unit).is_some_and(counts)).collect();
    let stands_in = at(&helper);
    match goal.crew.role {
        Role::Rest | Role::Provision => {
            return if missing.is_empty() { Move::Arrived } else { Move::Renew(goal.count) };
        }
        Role::Worker | Role::Gateway => {}
    }
    if missing.is_empty() && !goal.beside {
        return stands_in.map_or(Move::Arrived, |it| Move::End(vec![it.id.clone()]));
    }
    match stands_in {
        None => return Move::Grow(1),
        // It was left by another deploy.
        Some(it) if !counts(it) => return Move::End(vec![it.id.clone()]),
        Some(_) if goal.beside => return Move::Arrived,
        Some(_) => {}
    }
    match missing.iter().find(|unit| at(unit).is_none()) {
        Some(_) => Move::Grow(1),
        None => Move::End(missing.iter().take(1).filter_map(|unit| Some(at(unit)?.id.clone())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::Crew;

    /// systemd with one service.
    #[derive(Clone, Debug)]
    struct Machine {
        started: u32,
        /// Whether what is new works.
        good: bool,
        all: Vec<Container>,
    }

    impl Machine {
        fn new(units: u8, good: bool) -> Self {
            let mut machine = Self { started: 0, good, all: Vec::new() };
            for number in 1..=units {
                machine.start(&format!("vigie-command-worker@{number}"), "old");
            }
            machine.look();
            machine
        }

        fn start(&mut self, unit: &str, image: &str) {
            self.started += 1;
            self.all.push(Container {
                id: id(unit, &self.started.to_string()),
                service: "command-worker".to_owned(),
                image: image.to_owned(),
                folder: String::new(),
                created: String::new(),
                state: "running".to_owned(),
                health: "starting".to_owned(),
                restarts: 0,
                instance: String::new(),
            });
        }

        fn look(&mut self) {
            let good = self.good;
            for it in self.all.iter_mut().filter(|it| it.state != "exited") {
                it.health = if good || it.image == "old" { "healthy" } else { "unhealthy" }.to_owned();
            }
        }

        /// systemd gives up on one more, before anything begins.
        fn give_up(&mut self, unit: &str) {
            self.start(unit, "old");
            self.all.iter_mut().filter(|it| unit_of(&it.id) == unit).for_each(|it| {
                it.state = "exited".to_owned();
                it.health = String::new();
            });
        }

        fn standing(&self) -> impl Iterator<Item = &Container> {
            self.all.iter().filter(|it| it.state != "exited")
        }

        fn working(&self) -> usize {
            self.all.iter().filter(|it| it.works()).count()
        }

        fn is_all(&self, image: &str, units: u8) -> bool {
            let mut names: Vec<&str> = self.standing().map(|it| unit_of(&it.id)).collect();
            names.sort_unstable();
            let expected: Vec<String> =
                (1..=units).map(|number| format!("vigie-command-worker@{number}")).collect();
            names == expected && self.standing().all(|it| it.image == image)
        }

        /// The fewest that worked on the way, or why it does not go on.
        fn bring(&mut self, goal: &Goal<'_>, moves: u32) -> Result<usize, String> {
            let mut fewest = self.working();
            for _ in 0..moves {
                match next(goal, &self.all) {
                    Move::Arrived => return Ok(fewest),
                    Move::Fail(words, _) => return Err(words),
                    Move::Wait(..) => self.look(),
                    Move::Grow(_) => {
                        for unit in wanted(goal) {
                            if self.all.iter().all(|it| unit_of(&it.id) != unit) {
                                self.start(&unit, goal.image);
                            }
                        }
                    }
                    Move::Renew(_) => return Err("none of them is made anew".to_owned()),
                    Move::End(ids) => self.all.retain(|it| !ids.contains(&it.id)),
                }
                fewest = fewest.min(self.working());
            }
            Err("it never arrives".to_owned())
        }
    }

    fn crew(machine: &Machine) -> Crew {
        let count = u32::try_from(machine.standing().count()).unwrap();
        Crew {
            service: "command-worker".to_owned(),
            answers_as: None,
            role: Role::Worker,
            operations: false,
            old: machine.standing().map(|it| it.id.clone()).collect(),
            before: count,
            after: count,
        }
    }

    fn goal<'a>(crew: &'a Crew, image: &'a str, old_count: bool, beside: bool) -> Goal<'a> {
        Goal { crew, image, count: if beside { 1 } else { crew.after }, old_count, beside }
    }

    #[test]
    fn each_is_replaced_in_its_place_while_another_stands_in() {
        for units in 1..=9 {
            let mut machine = Machine::new(units, true);
            let crew = crew(&machine);
            machine.bring(&goal(&crew, "new", false, true), 9).unwrap();
            assert_eq!(machine.working(), usize::from(units) + 1);
            let fewest = machine.bring(&goal(&crew, "new", false, false), 99).unwrap();
            assert_eq!(fewest, usize::from(units));
            assert!(machine.is_all("new", units), "{machine:?}");
        }
    }

    #[test]
    fn names_of_units_are_a_closed_list() {
        assert_eq!(service_of("vigie-command-worker@3"), Some("command-worker"));
        assert_eq!(service_of("vigie-backup"), Some("backup"));
        for other in ["vigie-nats", "vigie-deployer", "vigie-command-worker@10", "vigie-backup@1", "ssh", ""]
        {
            assert_eq!(service_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_bad_one_never_takes_a_place_and_whatever_was_begun_is_gone_after_going_back(
            units in 1_u8..=8,
            given_up: bool,
            good: bool,
            canary in 0_u32..6,
            moves in 0_u32..40,
        ) {
            let mut machine = Machine::new(units, good);
            if given_up {
                machine.give_up(&format!("vigie-command-worker@{}", units + 1));
            }
            let crew = crew(&machine);
            let canary = machine.bring(&goal(&crew, "new", false, true), canary);
            if canary.is_ok() {
                let _ = machine.bring(&goal(&crew, "new", false, false), moves);
            }
            if !good {
                prop_assert!(machine.standing().filter(|it| it.image == "old").count() == usize::from(units));
            }
            // Dead at any moment, and back.
            let fewest = machine.bring(&goal(&crew, "old", true, false), 99).unwrap();
            prop_assert!(machine.is_all("old", units), "{machine:?}");
            prop_assert!(fewest + 1 >= usize::from(units));
            prop_assert_eq!(machine.all.len() - machine.standing().count(), usize::from(given_up));
        }
    }
}
