//! Lines on the wire: reading what a client sends, and writing one line once for all who get it.

use bytes::Bytes;

use super::{caps, tags::Tags};

/// Longest line that is read from a client, in bytes. IRCv3 allows a client 4094 bytes of tags and
/// 510 of message; Twitch documents no figure of its own and drops those who go far beyond it.
pub(crate) const MAX_LINE_BYTES: usize = 8 * 1024;

/// Most parameters of a line, as in RFC 1459.
const MAX_PARAMS: usize = 15;

/// A line from a client, still borrowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientLine<'a> {
    /// Raw tags without the `@`, empty when there were none.
    pub(crate) tags: &'a str,
    pub(crate) command: &'a str,
    /// Parameters, the trailing one last.
    pub(crate) params: Vec<&'a str>,
}

impl<'a> ClientLine<'a> {
    /// `None` for a line without a command.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let mut rest = line.trim_end_matches(['\r', '\n']);
        let mut tags = "";
        if let Some(tagged) = rest.strip_prefix('@') {
            (tags, rest) = tagged.split_once(' ')?;
        }
        rest = rest.trim_start_matches(' ');
        if rest.starts_with(':') {
            rest = rest.split_once(' ')?.1.trim_start_matches(' ');
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return None;
        }
        let mut params = Vec::new();
        loop {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
            if let Some(trailing) = rest.strip_prefix(':') {
                params.push(trailing);
                break;
            }
            if params.len() + 1 == MAX_PARAMS {
                params.push(rest);
                break;
            }
            let (param, more) = rest.split_once(' ').unwrap_or((rest, ""));
            params.push(param);
            rest = more;
        }
        Some(Self { tags, command, params })
    }

    pub(crate) fn param(&self, index: usize) -> &'a str {
        self.params.get(index).copied().unwrap_or("")
    }
}

/// One line for many connections: written once with tags and once without, then only cloned.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    tagged: Bytes,
    plain: Bytes,
    /// Capabilities without which a connection does not get the line at all.
    needs: u8,
}

impl Shared {
    /// A line with tags; `rest` has no line end.
    pub(crate) fn new(tags: &Tags, rest: &str, needs: u8) -> Self {
        let mut whole = String::with_capacity(tags.as_str().len() + rest.len() + 4);
        whole.push('@');
        whole.push_str(tags.as_str());
        whole.push(' ');
        let start = whole.len();
        whole.push_str(rest);
        whole.push_str("\r\n");
        let tagged = Bytes::from(whole);
        let plain = tagged.slice(start..);
        Self { tagged, plain, needs }
    }

    /// A line that has no tags for anybody.
    pub(crate) fn untagged(rest: &str, needs: u8) -> Self {
        let plain = Bytes::from(format!("{rest}\r\n"));
        Self { tagged: plain.clone(), plain, needs }
    }

    /// A line exactly as given; those without the tags capability get it without its tags.
    pub(crate) fn raw(line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut whole = Vec::with_capacity(line.len() + 2);
        whole.extend_from_slice(line);
        whole.extend_from_slice(b"\r\n");
        let tagged = Bytes::from(whole);
        let start = match line.first() {
            Some(b'@') => line.iter().position(|b| *b == b' ').map_or(0, |at| at + 1),
            _ => 0,
        };
        Self { plain: tagged.slice(start..), tagged, needs: 0 }
    }

    /// The form for a connection with these capabilities; `None` if it does not get the line.
    pub(crate) fn form(&self, held: u8) -> Option<Bytes> {
        if held & self.needs != self.needs {
            return None;
        }
        Some(if held & caps::TAGS == 0 { self.plain.clone() } else { self.tagged.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tags_prefix_and_trailing() {
        let line = ClientLine::parse("@reply-parent-msg-id=a :x!x@x PRIVMSG  #c :hi : there \r\n").unwrap();
        assert_eq!(line.tags, "reply-parent-msg-id=a");
        assert_eq!(line.command, "PRIVMSG");
        assert_eq!(line.params, ["#c", "hi : there "]);
    }

    #[test]
    fn reads_lines_without_parameters() {
        assert_eq!(ClientLine::parse("PING").unwrap().params, Vec::<&str>::new());
        assert_eq!(ClientLine::parse(""), None);
        assert_eq!(ClientLine::parse("@a=b"), None);
        assert_eq!(ClientLine::parse(":only"), None);
    }

    #[test]
    fn a_raw_line_loses_its_tags_for_those_who_did_not_ask() {
        let line = Shared::raw(b"@id=1 :tmi.twitch.tv RECONNECT");
        assert_eq!(line.form(caps::TAGS).unwrap(), &b"@id=1 :tmi.twitch.tv RECONNECT\r\n"[..]);
        assert_eq!(line.form(0).unwrap(), &b":tmi.twitch.tv RECONNECT\r\n"[..]);
    }

    #[test]
    fn a_line_that_needs_a_capability_is_kept_from_others() {
        let line = Shared::new(&Tags::new().plain("a", 1), ":tmi.twitch.tv CLEARCHAT #c", caps::COMMANDS);
        assert!(line.form(caps::TAGS).is_none());
        assert_eq!(line.form(caps::COMMANDS).unwrap(), &b":tmi.twitch.tv CLEARCHAT #c\r\n"[..]);
    }
}
