//! Memory: whether limits hold at all, and where it is swapped to.

use super::{Finding, card, machine::Machine};

/// Compose gives every container a limit; without this one of them can take the whole machine down.
const MEND: &str = "add `cgroup_enable=memory cgroup_memory=1` to the one line of /boot/firmware/cmdline.txt and \
restart; deploy/pi/prepare.sh does it";

/// `docker`: whether containers run here, for which limits matter.
pub(crate) fn look(machine: &Machine, docker: bool) -> Vec<Finding> {
    let mut findings = vec![limits(machine, docker)];
    findings.extend(swap(machine));
    findings
}

fn limits(machine: &Machine, docker: bool) -> Finding {
    match holds(machine) {
        None => Finding::note("memory", "whether limits hold cannot be seen from here"),
        Some(true) => Finding::good("memory", "limits of containers hold"),
        Some(false) => {
            let seen = "limits of containers do not hold: the kernel's memory control is off";
            if docker { Finding::bad("memory", seen, MEND) } else { Finding::warn("memory", seen, MEND) }
        }
    }
}

fn holds(machine: &Machine) -> Option<bool> {
    // With cgroup v2 this file lists what can be limited; with v1 the table says what is switched on.
    if let Some(controllers) = machine.read("/sys/fs/cgroup/cgroup.controllers") {
        return Some(controllers.split_whitespace().any(|one| one == "memory"));
    }
    let table = machine.read("/proc/cgroups")?;
    let memory = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let memory = memory.into_iter().find(|fields| fields.first() == Some(&"memory"));
    Some(memory.is_some_and(|fields| fields.last() == Some(&"1")))
}

/// Swap on a card wears it out and is slower than anything.
fn swap(machine: &Machine) -> Option<Finding> {
    let table = machine.read("/proc/swaps")?;
    let places = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let on_card = places.into_iter().find(|place| card::holds(machine, place))?;
    Some(Finding::warn(
        "memory",
        format!("swap is on the SD card ({on_card}), which wears it out"),
        "use compressed memory (zram) in its place; deploy/pi/prepare.sh does it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    #[test]
    fn limits_that_do_not_hold_are_found_with_both_kinds_of_cgroups() {
        let fake = Fake::pi();
        assert_eq!(look(&fake.machine(), true)[0].verdict, Verdict::Good);
        fake.file("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
        assert_eq!(look(&fake.machine(), true)[0].verdict, Verdict::Bad);
        assert_eq!(look(&fake.machine(), false)[0].verdict, Verdict::Warn, "it matters for containers only");
        fake.without("sys/fs/cgroup/cgroup.controllers");
        assert_eq!(holds(&fake.machine()), Some(true));
        fake.file("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t41\t0\n");
        assert_eq!(holds(&fake.machine()), Some(false));
        fake.without("proc/cgroups");
        assert_eq!(look(&fake.machine(), true)[0].verdict, Verdict::Note);
    }

    #[test]
    fn swap_on_the_card_is_named_and_swap_in_memory_is_not() {
        let fake = Fake::pi();
        assert_eq!(swap(&fake.machine()), None);
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        fake.file("proc/swaps", &format!("{head}/var/swap  file 102396 0 -2\n"));
        assert!(swap(&fake.machine()).unwrap().seen.contains("SD card (/var/swap)"));
    }
}
