//! Counting what test binaries say of themselves.

/// How many tests and steps passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They passed.
    pub passed: u32,
    /// They failed.
    pub failed: u32,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Adds what a line says, if it is the last line of a test binary:
    /// `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
    pub fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let before = |word: &str| {
            let number = counts.split(['.', ';']).find_map(|part| part.trim().strip_suffix(word))?;
            number.trim().parse::<u32>().ok()
        };
        self.passed += before("passed").unwrap_or(0);
        self.failed += before("failed").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closing_lines_count() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a_test_named_9 passed; 9 failed ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 15, failed: 1 });
    }
}
