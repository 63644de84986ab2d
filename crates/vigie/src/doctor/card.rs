//! The SD card, eMMC or disk that everything lies on: its wear, and what went wrong with it so far.

use std::path::Path;

use super::{
    Finding,
    machine::{Machine, Mount},
};

/// What cards are called, and eMMC.
const CARD: &str = "mmcblk";
const BACK_UP: &str = "make a backup now, and replace it";

pub(crate) fn look(machine: &Machine, data: &Path) -> Vec<Finding> {
    let mut findings: Vec<Finding> = wear(machine).collect();
    findings.extend(errors(machine));
    findings.extend(read_only(machine, data));
    findings
}

/// Whether a device or file lies on a card.
pub(crate) fn holds(machine: &Machine, place: &str) -> bool {
    if let Some(device) = place.strip_prefix("/dev/") {
        return device.starts_with(CARD);
    }
    let Some(Mount { source, .. }) = machine.mount_of(Path::new(place)) else { return false };
    let only_cards = || machine.names("/sys/block").iter().all(|name| !name.starts_with("sd"));
    let has_card = || machine.names("/sys/block").iter().any(|name| name.starts_with(CARD));
    // Some kernels do not say which device they started from.
    source.starts_with(&format!("/dev/{CARD}")) || (source == "/dev/root" && has_card() && only_cards())
}

/// What the device itself says: eMMC in two numbers, cards nothing
/// (<https://docs.kernel.org/driver-api/mmc/mmc-dev-attrs.html>).
fn wear(machine: &Machine) -> impl Iterator<Item = Finding> {
    let names = machine.names("/sys/block").into_iter();
    // Its boot partitions are shown as devices of their own.
    let cards = names.filter(|name| name.starts_with(CARD) && !name.contains("boot"));
    cards.map(|name| {
        let says = |what: &str| machine.read(&format!("/sys/block/{name}/device/{what}"));
        let ends = says("pre_eol_info").and_then(|text| hexadecimal(&text)).unwrap_or(0);
        let tenths = says("life_time").unwrap_or_default();
        let tenths = tenths.split_whitespace().filter_map(hexadecimal).max().unwrap_or(0);
        of_card(&name, &says("name").unwrap_or_default(), tenths, ends)
    })
}

/// `tenths`: how much of its life is over, 1 for up to a tenth, 11 for more than all. `ends`: 2 when
/// its spare blocks run short, 3 when they are almost gone.
fn of_card(device: &str, name: &str, tenths: u64, ends: u64) -> Finding {
    let what = if name.is_empty() { device.to_owned() } else { format!("{device} ({name})") };
    let percent = 10 * tenths.min(10);
    match (tenths, ends) {
        (11.., _) | (_, 3..) => Finding::bad("card", format!("{what} is worn out"), BACK_UP),
        (9.., _) | (_, 2) => {
            let seen = format!("{what} is almost worn out: {percent} % of its life is over");
            Finding::warn("card", seen, "make backups, and replace it soon")
        }
        (1.., _) | (_, 1) => {
            Finding::good("card", format!("{what}: at most {percent} % of its life is over"))
        }
        _ => Finding::note("card", format!("{what} is an SD card, which does not tell its wear")),
    }
}

/// What ext4 has counted since the file system was last mended.
fn errors(machine: &Machine) -> Vec<Finding> {
    let systems = machine.names("/sys/fs/ext4").into_iter();
    let counted = systems.filter_map(|name| {
        let count: u64 = machine.read(&format!("/sys/fs/ext4/{name}/errors_count"))?.parse().ok()?;
        (count > 0).then(|| {
            Finding::bad(
                "card",
                format!("the file system of {name} has counted {count} errors"),
                "make a backup now; add fsck.repair=yes fsck.mode=force to cmdline.txt and restart; if they come \
                 again, replace the card",
            )
        })
    });
    counted.collect()
}

/// A kernel that meets errors makes the file system read-only. One that is so by intent, as that of a
/// container, comes from no device.
fn read_only(machine: &Machine, data: &Path) -> Option<Finding> {
    let mounts = [Path::new("/"), data].map(|path| machine.mount_of(path));
    let bad =
        mounts.into_iter().flatten().find(|mount| mount.read_only && mount.source.starts_with("/dev/"))?;
    Some(Finding::bad(
        "card",
        format!("{} ({}) is read-only, as a kernel makes it after errors", bad.at.display(), bad.source),
        "look at `dmesg`, make a backup, restart; if it comes again, replace the card or disk",
    ))
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    fn verdicts(fake: &Fake) -> Vec<Verdict> {
        look(&fake.machine(), Path::new("/srv/bot/data")).iter().map(|one| one.verdict).collect()
    }

    #[test]
    fn a_card_tells_nothing_and_emmc_tells_its_age() {
        let fake = Fake::pi();
        assert_eq!(verdicts(&fake), [Verdict::Note]);
        for (life, end, expected) in [
            ("0x01 0x02", "0x01", Verdict::Good),
            ("0x02 0x09", "0x01", Verdict::Warn),
            ("0x02 0x02", "0x02", Verdict::Warn),
            ("0x0b 0x01", "0x01", Verdict::Bad),
            ("0x01 0x01", "0x03", Verdict::Bad),
        ] {
            fake.file("sys/block/mmcblk0/device/life_time", life);
            fake.file("sys/block/mmcblk0/device/pre_eol_info", end);
            assert_eq!(verdicts(&fake), [expected], "{life} {end}");
        }
    }

    #[test]
    fn errors_and_a_file_system_that_turned_read_only_are_named() {
        let fake = Fake::pi();
        fake.file("sys/fs/ext4/mmcblk0p2/errors_count", "3\n");
        fake.file("proc/mounts", "/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n");
        assert_eq!(verdicts(&fake), [Verdict::Note, Verdict::Bad, Verdict::Bad]);
        fake.file("proc/mounts", "overlay / overlay ro,relatime 0 0\n");
        assert_eq!(verdicts(&fake), [Verdict::Note, Verdict::Bad], "a container is read-only by intent");
    }
}
