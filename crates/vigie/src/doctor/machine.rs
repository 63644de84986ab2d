//! The machine as its kernel shows it, below a folder that is `/` but in tests, or where the `/` of
//! another system is mounted.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::Finding;

/// The longest file of a kernel that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024;
/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// Where to look.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    root: PathBuf,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// What is mounted, such as `/dev/mmcblk0p2`.
    pub source: String,
    /// Where.
    pub at: PathBuf,
    pub read_only: bool,
}

impl Machine {
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The place of an absolute path.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a file says, without the blanks and zeros around it; `None` when it cannot be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        read(&self.path(path))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The names in a folder, sorted; none when it cannot be read.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Whether this runs in a container, from where the host's own files cannot be seen.
    pub(crate) fn in_container(&self) -> bool {
        self.exists("/.dockerenv") || self.exists("/run/.containerenv")
    }

    /// What is mounted, in the order in which it was.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let table = self.read("/proc/mounts").unwrap_or_default();
        table.lines().filter_map(mount).collect()
    }

    /// The file system that a path of this machine is on.
    pub(crate) fn mount_of(&self, path: &Path) -> Option<Mount> {
        let on = self.mounts().into_iter().filter(|mount| path.starts_with(&mount.at));
        // Of two at one place the later one covers the earlier one.
        on.max_by_key(|mount| mount.at.components().count())
    }

    /// What it is: `Raspberry Pi 4 Model B Rev 1.5`; `None` where firmware does not tell.
    pub(crate) fn model(&self) -> Option<String> {
        self.read("/proc/device-tree/model").or_else(|| self.read("/sys/firmware/devicetree/base/model"))
    }

    /// The architecture of its kernel, such as `aarch64`.
    fn kernel(&self) -> String {
        // Newer kernels say it in a file.
        let told = self.read("/proc/sys/kernel/arch");
        told.unwrap_or_else(|| rustix::system::uname().machine().to_string_lossy().into_owned())
    }

    /// Whether its own programs are for 32 bit; `None` where it has none, as in Vigie's image.
    fn programs_are_32_bit(&self) -> Option<bool> {
        ["/usr/bin/env", "/bin/sh"].iter().find_map(|path| is_32_bit(&self.path(path)))
    }
}

/// What it is, and whether this program was made for it.
pub(crate) fn look(machine: &Machine) -> Vec<Finding> {
    let kernel = machine.kernel();
    let mut findings = vec![made_for(machine, &kernel, std::env::consts::ARCH)];
    if machine.in_container() {
        findings.push(Finding::note(
            "machine",
            "seen from inside a container: Docker itself and the host's files are not",
        ));
    }
    findings
}

fn made_for(machine: &Machine, kernel: &str, ours: &str) -> Finding {
    let model = machine.model().map(|model| format!("{model}, ")).unwrap_or_default();
    let seen = format!("{model}{kernel}");
    let is_64_bit = |name: &str| matches!(name, "x86_64" | "aarch64" | "arm64" | "riscv64");
    if is_64_bit(kernel) && machine.programs_are_32_bit() == Some(true) {
        return Finding::bad(
            "machine",
            format!("{seen}, but a 32-bit system on it: Vigie's images cannot run"),
            "install the 64-bit Raspberry Pi OS",
        );
    }
    if !is_64_bit(kernel) {
        return Finding::bad("machine", format!("{seen} has 32 bits only"), "Vigie needs a 64-bit system");
    }
    let same = kernel == ours || (kernel == "arm64" && ours == "aarch64");
    if same {
        Finding::good("machine", seen)
    } else {
        Finding::warn(
            "machine",
            format!("{seen}, but this Vigie is for {ours} and runs by emulation, much slower"),
            format!("take the binaries, or the image, for {kernel}"),
        )
    }
}

/// A line of `/proc/mounts`: source, place, type, options.
fn mount(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let (source, at, _, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let read_only = options.split(',').any(|option| option == "ro");
    // Blanks in names are written in octal.
    Some(Mount { source: source.to_owned(), at: PathBuf::from(at.replace("\\040", " ")), read_only })
}

/// The fifth byte of a program tells (elf(5)); `None` when it is no program.
fn is_32_bit(path: &Path) -> Option<bool> {
    let mut head = [0; 5];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    head.starts_with(b"\x7fELF").then_some(head[4] == 1)
}

/// What a file says, without the blanks and zeros around it; `None` when it cannot be read.
pub(crate) fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    #[test]
    fn a_32_bit_system_on_a_64_bit_kernel_is_named() {
        let fake = Fake::pi();
        fake.bytes("usr/bin/env", b"\x7fELF\x01\x01\x01");
        let finding = made_for(&fake.machine(), "aarch64", "aarch64");
        assert_eq!(finding.verdict, Verdict::Bad);
        assert!(finding.seen.contains("a 32-bit system on it"), "{finding:?}");
    }

    #[test]
    fn a_pi_is_named_and_a_foreign_binary_is_too() {
        let fake = Fake::pi();
        let machine = fake.machine();
        let finding = made_for(&machine, "aarch64", "aarch64");
        assert_eq!(finding.seen, "Raspberry Pi 4 Model B Rev 1.5, aarch64");
        assert_eq!(finding.verdict, Verdict::Good);
        assert_eq!(made_for(&machine, "aarch64", "x86_64").verdict, Verdict::Warn);
        assert_eq!(made_for(&machine, "armv7l", "arm").verdict, Verdict::Bad);
    }

    #[test]
    fn the_file_system_of_a_path_is_the_one_mounted_deepest() {
        let fake = Fake::pi();
        fake.file("proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\n/dev/sda1 /mnt/my\\040disk ext4 ro 0 0\n");
        let source = |path: &str| fake.machine().mount_of(Path::new(path)).unwrap().source;
        assert_eq!(source("/srv/bot/data"), "/dev/mmcblk0p2");
        assert_eq!(source("/mnt/my disk/data"), "/dev/sda1");
    }
}
