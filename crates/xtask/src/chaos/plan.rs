//! Which faults happen, in which order and for how long: all of it follows from the seed. When the next
//! one begins depends on when the one before was recovered from.

use std::time::Duration;

use anyhow::ensure;
use fastrand::Rng;

use super::kinds::{KINDS, Kind, Role};

/// Between the recovery from one fault and the next, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 300..=1500;
/// After the first round, one in so many faults has a second one beside it.
const PAIR_ONE_IN: u32 = 4;
/// The second one begins this much later at most, in milliseconds.
const BESIDE_MS: u64 = 2000;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which kind.
    pub kind: &'static Kind,
    /// Which of several parts; taken modulo how many there are.
    pub which: usize,
    /// For how long.
    pub lasts: Duration,
}

/// What happens together, and the pause before it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The pause.
    pub pause: Duration,
    /// The fault.
    pub fault: Fault,
    /// A second one, so much later.
    pub beside: Option<(Duration, Fault)>,
}

/// The endless sequence of a seed.
#[derive(Debug)]
pub struct Plan {
    random: Rng,
    kinds: Vec<&'static Kind>,
    bag: Vec<&'static Kind>,
    first_round: bool,
}

impl Plan {
    /// The sequence of `seed`; with `only`, of the kinds whose names contain it.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn new(seed: u64, only: Option<&str>) -> anyhow::Result<Self> {
        let wanted = |kind: &&Kind| only.is_none_or(|part| kind.name.contains(part));
        let kinds: Vec<&'static Kind> = KINDS.iter().filter(wanted).collect();
        let names = || KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join("\n  ");
        ensure!(!kinds.is_empty(), "--only: expected a part of one of\n  {}", names());
        let first: Vec<_> = kinds.iter().copied().filter(|kind| kind.first).collect();
        let mut random = Rng::with_seed(seed);
        let mut bag = if first.is_empty() { kinds.clone() } else { first };
        random.shuffle(&mut bag);
        Ok(Self { random, kinds, bag, first_round: true })
    }

    /// What comes next.
    pub fn next(&mut self) -> Step {
        let kind = self.draw();
        let pause = Duration::from_millis(self.random.u64(PAUSE_MS));
        let fault = self.fault(kind);
        let second = self.kinds[self.random.usize(..self.kinds.len())];
        let (later, one_in) = (self.random.u64(..=BESIDE_MS), self.random.u32(..PAIR_ONE_IN));
        let beside = (!self.first_round && one_in == 0 && may_be_together(kind, second))
            .then(|| (Duration::from_millis(later), self.fault(second)));
        Step { pause, fault, beside }
    }

    /// Every kind comes once before one comes again.
    fn draw(&mut self) -> &'static Kind {
        loop {
            if let Some(kind) = self.bag.pop() {
                return kind;
            }
            self.first_round = false;
            self.bag.clone_from(&self.kinds);
            self.random.shuffle(&mut self.bag);
        }
    }

    fn fault(&mut self, kind: &'static Kind) -> Fault {
        let lasts = Duration::from_millis(self.random.u64(kind.lasts_ms.clone()));
        Fault { kind, which: self.random.usize(..1024), lasts }
    }
}

/// Two of the same part would undo each other. What is forgotten on the way from a platform must not be
/// held up there by another fault: nobody could then say what a gateway could have kept.
fn may_be_together(one: &Kind, other: &Kind) -> bool {
    let forgotten = one.forgets || other.forgets;
    one.role != other.role && (!forgotten || one.role == Role::Worker || other.role == Role::Worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, count: usize) -> Vec<String> {
        let mut plan = Plan::new(seed, None).unwrap();
        (0..count).map(|_| format!("{:?}", plan.next())).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_plan() {
        assert_eq!(steps(7, 200), steps(7, 200));
        assert_ne!(steps(7, 200), steps(8, 200));
    }

    #[test]
    fn every_kind_comes_and_its_time_is_within_bounds() {
        let mut plan = Plan::new(3, None).unwrap();
        let first = KINDS.iter().filter(|kind| kind.first).count();
        let mut missing: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        for number in 0..first + KINDS.len() {
            let step = plan.next();
            assert!(number >= first || (step.fault.kind.first && step.beside.is_none()));
            for fault in [Some(step.fault), step.beside.map(|(_, fault)| fault)].into_iter().flatten() {
                let ms = u64::try_from(fault.lasts.as_millis()).unwrap();
                assert!(fault.kind.lasts_ms.contains(&ms), "{fault:?}");
            }
            missing.retain(|name| *name != step.fault.kind.name);
        }
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn one_kind_can_be_chosen() {
        let mut plan = Plan::new(1, Some("NATS: kill")).unwrap();
        assert_eq!(plan.next().fault.kind.name, "NATS: kill -9");
        assert!(Plan::new(1, Some("earthquake")).unwrap_err().to_string().contains("worker: kill -9"));
    }
}
