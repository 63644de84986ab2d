//! The clock: held against the platforms', and whether anything keeps it right.

use super::{Finding, machine::Machine};

/// More than this is worth a warning; a platform's time is known to about a second.
const WARN_MS: u64 = 2_000;
/// With more than this what people ask comes out as too old.
const BAD_MS: u64 = 30_000;
const MEND: &str = "switch on time synchronisation, such as `sudo timedatectl set-ntp true`";

/// `skew_ms`: by how much this machine is ahead of a platform, if one told.
pub(crate) fn look(machine: &Machine, skew_ms: Option<i64>) -> Vec<Finding> {
    let mut findings = vec![compared(skew_ms)];
    findings.extend(unsynchronised(machine));
    findings
}

fn compared(skew_ms: Option<i64>) -> Finding {
    let Some(skew) = skew_ms else {
        return Finding::note("clock", "not compared: no platform told the time");
    };
    let off = skew.unsigned_abs();
    if off <= WARN_MS {
        return Finding::good("clock", "agrees with the platform's");
    }
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let seen = format!("{} s {direction} the platform's", off / 1000);
    if off <= BAD_MS {
        Finding::warn("clock", seen, MEND)
    } else {
        Finding::bad("clock", format!("{seen}; answers would come out as expired"), MEND)
    }
}

/// The service of systemd leaves a file once it has set the clock; where another keeps the time, or a
/// container hides it, there is nothing to see.
fn unsynchronised(machine: &Machine) -> Option<Finding> {
    let (folder, file) = ("/run/systemd/timesync", "/run/systemd/timesync/synchronized");
    (machine.exists(folder) && !machine.exists(file))
        .then(|| Finding::warn("clock", "has not been set from the network since the start", MEND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    #[test]
    fn a_clock_that_is_off_is_named_with_its_direction() {
        assert_eq!(compared(Some(-1_900)).verdict, Verdict::Good);
        assert_eq!(compared(Some(-5_000)).verdict, Verdict::Warn);
        assert!(compared(Some(90_000)).seen.starts_with("90 s ahead of"));
        assert!(compared(Some(-90_000)).seen.starts_with("90 s behind"));
        assert_eq!(compared(Some(-90_000)).verdict, Verdict::Bad);
        assert_eq!(compared(None).verdict, Verdict::Note);
    }

    #[test]
    fn a_clock_that_was_never_set_is_named() {
        let fake = Fake::pi();
        assert_eq!(unsynchronised(&fake.machine()), None);
        fake.without("run/systemd/timesync/synchronized");
        assert_eq!(unsynchronised(&fake.machine()).unwrap().verdict, Verdict::Warn);
    }
}
