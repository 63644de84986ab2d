//! What the kernel counts, in `/proc` (proc(5)).

use std::path::Path;

/// A sector of `/proc/diskstats`, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;
/// Disks that are none, or whose writes are counted with the disk below.
const NO_DISKS: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "sr", "nbd"];

/// Ticks of all cores together since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    all: u64,
    idle: u64,
}

impl Times {
    /// The share of the time that was worked; `None` when no time passed, or the counters went back.
    pub fn busy_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(before.idle).min(all);
        Some(1.0 - idle as f64 / all as f64)
    }
}

/// Memory and swap, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub bytes: u64,
    /// What can still be given out without swapping.
    pub available_bytes: u64,
    /// Swap, zram too.
    pub swap_bytes: u64,
    /// What of it is used.
    pub swap_used_bytes: u64,
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. (The last two, guest
/// times, are in user and nice already.)
pub fn times(stat: &str) -> Option<Times> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u64> = numbers.take(8).map_while(|number| number.parse().ok()).collect();
    (ticks.len() >= 5).then(|| Times { all: ticks.iter().sum(), idle: ticks[3] + ticks[4] })
}

/// How many cores `/proc/stat` shows.
pub fn cpus(stat: &str) -> Option<u64> {
    let cores = stat.lines().filter(|line| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    Some(cores.count() as u64).filter(|count| *count > 0)
}

/// `/proc/loadavg` and `/proc/uptime` begin with what is wanted.
pub fn first_number(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// `/proc/meminfo`.
pub fn memory(meminfo: &str) -> Option<Memory> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let swap_bytes = kib("SwapTotal").unwrap_or_default();
    Some(Memory {
        bytes: kib("MemTotal").filter(|bytes| *bytes > 0)?,
        available_bytes: kib("MemAvailable")?,
        swap_bytes,
        swap_used_bytes: swap_bytes.saturating_sub(kib("SwapFree").unwrap_or_default()),
    })
}

/// Bytes that were written to whole disks, from `/proc/diskstats`; partitions are part of their disk. `None` when
/// there is no disk.
pub fn written(diskstats: &str, root: &Path) -> Option<u64> {
    let sectors = diskstats.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let name = fields.next()?;
        let is_disk = !NO_DISKS.iter().any(|start| name.starts_with(start))
            && root.join("sys/block").join(name).is_dir();
        // Reads, reads merged, sectors read, ms reading, writes, writes merged, sectors written.
        let sectors = fields.nth(6)?.parse::<u64>().ok()?;
        is_disk.then_some(sectors)
    });
    sectors.reduce(u64::wrapping_add).map(|sectors| sectors.wrapping_mul(SECTOR_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_work_is_what_was_not_idle() {
        let before = times("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n").unwrap();
        let after = times("cpu  130 0 70 840 60 0 0 0 0 0\n").unwrap();
        assert_eq!(after.busy_since(before), Some(0.5));
        assert_eq!(before.busy_since(after), None);
        assert_eq!(cpus("cpu  1\ncpu0 1\ncpu1 1\nintr 5\n"), Some(2));
        assert_eq!(cpus(""), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text =
            "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n";
        let expected = Memory {
            bytes: 1000 * 1024,
            available_bytes: 400 * 1024,
            swap_bytes: 50 * 1024,
            swap_used_bytes: 30 * 1024,
        };
        assert_eq!(memory(text), Some(expected));
        assert_eq!(memory("nothing"), None);
    }

    #[test]
    fn partitions_and_zram_are_not_counted_again() {
        let root = tempfile::tempdir().unwrap();
        for disk in ["mmcblk0", "zram0"] {
            std::fs::create_dir_all(root.path().join("sys/block").join(disk)).unwrap();
        }
        let text = " 179 0 mmcblk0 9 9 9 9 5 5 200 9 0 9 9\n 179 1 mmcblk0p1 9 9 9 9 5 5 200 9 0 9 9\n 254 0 zram0 \
                    9 9 9 9 5 5 700 9 0 9 9\n";
        assert_eq!(written(text, root.path()), Some(200 * 512));
        assert_eq!(written("", root.path()), None);
    }
}
