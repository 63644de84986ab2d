//! A machine made of files, for tests.

use std::fs;

use tempfile::TempDir;

use super::machine::Machine;

/// A folder with what a kernel would show.
pub(super) struct Fake(TempDir);

impl Fake {
    /// A Raspberry Pi 4 that is well.
    pub(super) fn pi() -> Self {
        let fake = Self(TempDir::new().unwrap());
        for part in include_str!("../../tests/machines/pi4.txt").split("=== ").skip(1) {
            let (path, text) = part.split_once('\n').unwrap();
            fake.file(path, text);
        }
        fake
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    pub(super) fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn without(&self, path: &str) {
        fs::remove_file(self.0.path().join(path)).unwrap();
    }

    pub(super) fn machine(&self) -> Machine {
        Machine::at(self.0.path())
    }
}
