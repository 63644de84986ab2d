//! The machine: CPU, memory, disk, temperature and power, from `/proc` and `/sys`. In a container both are those
//! of the host, so nothing need be mounted; what this machine cannot tell is left out.

mod proc;
mod sensors;

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

pub use proc::Memory;
use proc::Times;
pub use sensors::Power;

/// Looks at the machine.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    data: PathBuf,
    /// As they were at the last look.
    times: Option<Times>,
}

/// What a look at the machine found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Cores.
    pub cpus: Option<u64>,
    /// The share of all cores that worked since the last look, 0 to 1.
    pub cpu_ratio: Option<f64>,
    /// The load average of one minute.
    pub load1: Option<f64>,
    /// Memory and swap.
    pub memory: Option<Memory>,
    /// The file system that holds the data.
    pub disk: Option<Disk>,
    /// Bytes written to all disks since the machine started.
    pub written_bytes: Option<u64>,
    /// The hottest sensor, in degrees Celsius.
    pub temperature: Option<f64>,
    /// What a Pi says of its power supply.
    pub power: Option<Power>,
    /// Since the machine started, in seconds.
    pub uptime_s: Option<f64>,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub bytes: u64,
    /// What may still be written, by those who are not root.
    pub available_bytes: u64,
}

impl Disk {
    /// How full it is, in percent, as `df` shows it.
    #[must_use]
    pub fn used_percent(self) -> f64 {
        percent(self.bytes.saturating_sub(self.available_bytes), self.bytes)
    }
}

impl Host {
    /// `root` is `/`, but for tests; the disk below `data` is looked at.
    pub fn new(root: &Path, data: &Path) -> Self {
        Self { root: root.to_owned(), data: data.to_owned(), times: None }
    }

    /// Looks at everything; takes about a millisecond.
    pub fn look(&mut self) -> Machine {
        let read = |path: &str| std::fs::read_to_string(self.root.join(path)).ok();
        let stat = read("proc/stat").unwrap_or_default();
        let times = proc::times(&stat);
        let cpu_ratio = self.times.zip(times).and_then(|(before, now)| now.busy_since(before));
        let machine = Machine {
            cpus: proc::cpus(&stat),
            cpu_ratio,
            load1: read("proc/loadavg").and_then(|text| proc::first_number(&text)),
            memory: read("proc/meminfo").and_then(|text| proc::memory(&text)),
            disk: disk(&self.data),
            written_bytes: read("proc/diskstats").and_then(|text| proc::written(&text, &self.root)),
            temperature: sensors::temperature(&self.root),
            power: sensors::power(&self.root),
            uptime_s: read("proc/uptime").and_then(|text| proc::first_number(&text)),
        };
        self.times = times;
        machine
    }
}

/// The file system of a folder, or of the folder that it will be made in.
fn disk(folder: &Path) -> Option<Disk> {
    // A relative path has no ancestor that is there but the current folder.
    let folder = std::path::absolute(folder).ok()?;
    let stat = folder.ancestors().find_map(|folder| statvfs(folder).ok())?;
    let disk = Disk {
        // Blocks that are kept for root can be used by nobody else: as in df, they count neither as free nor as
        // part of the whole.
        bytes: (stat.f_blocks - stat.f_bfree + stat.f_bavail) * stat.f_frsize,
        available_bytes: stat.f_bavail * stat.f_frsize,
    };
    (disk.bytes > 0).then_some(disk)
}

/// A part of a whole, in percent; nothing of nothing is 0.
pub fn percent(part: u64, whole: u64) -> f64 {
    // Below 2^53 bytes, which is 8 PiB, nothing is lost.
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_a_disk_and_cores() {
        let mut host = Host::new(Path::new("/"), Path::new("not/there/yet"));
        let machine = host.look();
        assert!(machine.cpus.is_some_and(|cpus| cpus > 0), "{machine:?}");
        assert!(machine.memory.is_some_and(|memory| memory.available_bytes < memory.bytes), "{machine:?}");
        let disk = machine.disk.unwrap();
        assert!((0.0..=100.0).contains(&disk.used_percent()), "{disk:?}");
        assert_eq!(machine.cpu_ratio, None, "there is nothing to compare with yet");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let empty = tempfile::tempdir().unwrap();
        let machine = Host::new(empty.path(), empty.path()).look();
        assert_eq!(Machine { disk: None, ..machine }, Machine::default());
    }
}
