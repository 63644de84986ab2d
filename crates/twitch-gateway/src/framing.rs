//! Cuts what a socket delivers into lines. It holds at most one line; what is longer is thrown away
//! up to its end and counted, and bytes that are not UTF-8 become U+FFFD.

use bytes::{Buf as _, BytesMut};

/// The longest line that is read, in bytes. Twitch sends up to 8 KiB of tags and 512 bytes of
/// message; the rest is margin.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The line being received.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
    scanned: usize,
    /// The rest of a line that was too long is still to come.
    discarding: bool,
    too_long: u64,
}

impl Lines {
    /// Where the next bytes are appended. Call [`Self::next_line`] until it has no more after each
    /// read: that is what bounds the buffer.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole line without its line end; empty lines are passed by.
    pub fn next_line(&mut self) -> Option<String> {
        loop {
            let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(found) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                self.give_up_if_too_long();
                return None;
            };
            let line = self.buffer.split_to(self.scanned + found);
            self.buffer.advance(1);
            self.scanned = 0;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if std::mem::take(&mut self.discarding) {
                continue;
            }
            if line.len() > MAX_LINE_BYTES {
                self.too_long += 1;
            } else if !line.is_empty() {
                return Some(String::from_utf8_lossy(line).into_owned());
            }
        }
    }

    /// How many lines were too long since this was last asked.
    pub fn take_too_long(&mut self) -> u64 {
        std::mem::take(&mut self.too_long)
    }

    fn give_up_if_too_long(&mut self) {
        if self.buffer.len() > MAX_LINE_BYTES {
            self.too_long += u64::from(!self.discarding);
            self.discarding = true;
            self.buffer.clear();
            self.scanned = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &mut Lines, chunk: &[u8]) -> Vec<String> {
        lines.buffer_mut().extend_from_slice(chunk);
        std::iter::from_fn(|| lines.next_line()).collect()
    }

    #[test]
    fn a_line_of_a_mebibyte_is_discarded_and_the_next_one_is_read() {
        let mut lines = Lines::default();
        let mut largest = 0;
        for _ in 0..256 {
            assert!(read(&mut lines, &[b'x'; 4096]).is_empty());
            largest = largest.max(lines.buffer.len());
        }
        assert!(largest <= MAX_LINE_BYTES, "{largest}");
        assert_eq!(read(&mut lines, b"\r\nPING :a\r\n"), ["PING :a"]);
        assert_eq!(lines.take_too_long(), 1);
        assert_eq!(lines.take_too_long(), 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_end_the_stream() {
        assert_eq!(read(&mut Lines::default(), b"a\xff\xfeb\nc\n"), ["a\u{fffd}\u{fffd}b", "c"]);
    }

    proptest! {
        #[test]
        fn the_cut_of_the_stream_does_not_matter(
            text in prop::collection::vec("[a-zé ]{0,40}", 0..20),
            cuts in prop::collection::vec(1_usize..50, 1..50),
        ) {
            let mut stream = text.join("\r\n").into_bytes();
            stream.push(b'\n');
            let mut lines = Lines::default();
            let (mut rest, mut got, mut cuts) = (&stream[..], Vec::new(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                got.extend(read(&mut lines, head));
                rest = tail;
            }
            let expected: Vec<String> = text.into_iter().filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn no_line_has_a_line_end_or_is_too_long(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..12)) {
            let mut lines = Lines::default();
            for chunk in chunks {
                for line in read(&mut lines, &chunk) {
                    prop_assert!(!line.contains('\n'));
                    // A byte that is not UTF-8 becomes three.
                    prop_assert!(line.len() <= 3 * MAX_LINE_BYTES);
                }
                prop_assert!(lines.buffer.len() <= MAX_LINE_BYTES);
            }
        }
    }
}
