//! One line of Twitch's IRC: a guard in front of tmi's parser, and access to tags by name.
//!
//! tmi 0.10 panics on more than 128 tags and on tags that nothing follows, wraps values of more than
//! 65535 bytes, and mis-splits tags without `=`. None of that reaches it from here.

use std::borrow::Cow;

use tmi::IrcMessageRef;
pub use tmi::irc::Command as Verb;

/// Most tags of a line: the capacity of tmi's parser.
const MAX_TAGS: usize = 128;
/// Longest text that tmi's 16-bit lengths hold with margin, in bytes.
const MAX_BYTES: usize = 60 * 1024;

/// Why a line is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// More than 128 tags.
    #[error("more than {MAX_TAGS} tags")]
    TooManyTags,
    /// More than 60 KiB.
    #[error("more than {MAX_BYTES} bytes")]
    TooLong,
    /// No command, or tags that nothing follows.
    #[error("not an IRC line")]
    Shape,
}

impl Rejected {
    /// A name for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManyTags => "too_many_tags",
            Self::TooLong => "too_long",
            Self::Shape => "shape",
        }
    }
}

/// A text that the parser can take.
#[derive(Clone, Debug)]
pub struct Guarded<'a>(Cow<'a, str>);

impl<'a> Guarded<'a> {
    /// Looks at a line before the parser does, and gives each tag the `=` that it lacks.
    ///
    /// # Errors
    /// [`Rejected`] for what the parser could not take.
    pub fn new(line: &'a str) -> Result<Self, Rejected> {
        if line.len() > MAX_BYTES {
            return Err(Rejected::TooLong);
        }
        let Some(tagged) = line.strip_prefix('@') else { return Ok(Self(line.into())) };
        let (tags, rest) = tagged.split_once(' ').ok_or(Rejected::Shape)?;
        if tags.split(';').count() > MAX_TAGS {
            return Err(Rejected::TooManyTags);
        }
        if tags.split(';').all(|tag| tag.contains('=')) {
            return Ok(Self(line.into()));
        }
        let tags = tags.split(';').filter(|tag| !tag.is_empty()).map(|tag| match tag.contains('=') {
            true => Cow::from(tag),
            false => Cow::from(format!("{tag}=")),
        });
        let tags = tags.collect::<Vec<_>>().join(";");
        let line = if tags.is_empty() { rest.to_owned() } else { format!("@{tags} {rest}") };
        Ok(Self(line.into()))
    }

    /// Parses the line.
    ///
    /// # Errors
    /// [`Rejected::Shape`] when it has no command.
    pub fn line(&self) -> Result<Line<'_>, Rejected> {
        IrcMessageRef::parse(&self.0).map(Line).ok_or(Rejected::Shape)
    }
}

/// A parsed line.
#[derive(Clone, Debug)]
pub struct Line<'a>(IrcMessageRef<'a>);

impl<'a> Line<'a> {
    /// What kind of line it is.
    #[must_use]
    pub fn verb(&self) -> Verb<'a> {
        self.0.command()
    }

    /// The login of the channel, in lower case as Twitch writes it.
    #[must_use]
    pub fn channel(&self) -> Option<&'a str> {
        self.0.channel().and_then(|channel| channel.strip_prefix('#')).filter(|login| !login.is_empty())
    }

    /// The login of who sent it.
    #[must_use]
    pub fn nick(&self) -> Option<&'a str> {
        self.0.prefix().and_then(|prefix| prefix.nick)
    }

    /// What follows the first `:` of the parameters; all of them when there is none.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.0.text().unwrap_or_default()
    }

    /// All parameters as they stand.
    #[must_use]
    pub fn params(&self) -> &'a str {
        self.0.params().unwrap_or_default()
    }

    /// A tag as it stands on the wire; an empty one counts as absent, as Twitch means it.
    #[must_use]
    pub fn raw_tag(&self, name: &str) -> Option<&'a str> {
        self.0.tags().find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// A tag with its escapes resolved.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw_tag(name).map(unescape)
    }

    /// Whether a tag says 1.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.raw_tag(name) == Some("1")
    }

    /// The badge sets beside the name, such as `moderator`.
    pub fn badges(&self) -> impl Iterator<Item = &'a str> {
        let badges = self.raw_tag("badges").unwrap_or_default();
        badges.split(',').map(|badge| badge.split_once('/').map_or(badge, |(set, _version)| set))
    }
}

/// Resolves the escapes of a tag's value (<https://ircv3.net/specs/extensions/message-tags>).
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return value.into();
    }
    let mut plain = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, false) => plain.push(c),
            // A lone backslash at the end is dropped.
            (_, true) => plain.extend(rest.next().map(|escaped| match escaped {
                ':' => ';',
                's' => ' ',
                'r' => '\r',
                'n' => '\n',
                other => other,
            })),
        }
    }
    plain.into()
}

/// Writes a tag's value so that it stays one.
#[must_use]
pub fn escape(value: &str) -> String {
    let mut wire = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ';' => wire.push_str("\\:"),
            ' ' => wire.push_str("\\s"),
            '\\' => wire.push_str("\\\\"),
            '\r' => wire.push_str("\\r"),
            '\n' => wire.push_str("\\n"),
            '\0' => {}
            other => wire.push(other),
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_twitch_sends() {
        let guarded = Guarded::new(
            "@badges=moderator/1,vip/1;id=a-1;msg=a\\sb\\:;mod=1 :max!max@max.tmi PRIVMSG #olive :hi : x",
        )
        .unwrap();
        let line = guarded.line().unwrap();
        assert_eq!(line.verb(), Verb::Privmsg);
        assert_eq!((line.channel(), line.nick(), line.text()), (Some("olive"), Some("max"), "hi : x"));
        assert_eq!(line.tag("msg").as_deref(), Some("a b;"));
        assert_eq!(line.badges().collect::<Vec<_>>(), ["moderator", "vip"]);
        assert!(line.flag("mod") && !line.flag("vip"));
    }

    #[test]
    fn tags_without_a_value_are_tags() {
        let guarded = Guarded::new("@flags;id=1;;emotes= PING :x").unwrap();
        let line = guarded.line().unwrap();
        assert_eq!(
            (line.raw_tag("id"), line.raw_tag("flags"), line.raw_tag("emotes")),
            (Some("1"), None, None)
        );
    }

    #[test]
    fn what_the_parser_cannot_take_is_rejected() {
        let tags = |n: usize| format!("@{} PING :x", vec!["a=b"; n].join(";"));
        assert!(Guarded::new(&tags(128)).unwrap().line().is_ok());
        assert_eq!(Guarded::new(&tags(129)).unwrap_err(), Rejected::TooManyTags);
        assert_eq!(Guarded::new(&tags(200)).unwrap_err(), Rejected::TooManyTags);
        assert_eq!(Guarded::new("@id=1").unwrap_err(), Rejected::Shape);
        assert_eq!(Guarded::new(&"x".repeat(61 * 1024)).unwrap_err(), Rejected::TooLong);
        assert_eq!(Guarded::new("@id=1 ").unwrap().line().unwrap_err(), Rejected::Shape);
        assert_eq!(Guarded::new("").unwrap().line().unwrap_err(), Rejected::Shape);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "[@:;=#! a-z0-9é\\\\]{0,200}") {
            look_at_all(&line);
        }

        #[test]
        fn no_text_at_all_makes_the_parser_panic(line in any::<String>()) {
            look_at_all(&line);
        }

        #[test]
        fn an_escaped_value_stays_one_and_comes_back(value in "[^\0]*") {
            let wire = escape(&value);
            prop_assert!(!wire.contains([';', ' ', '\r', '\n', '\0']));
            prop_assert_eq!(unescape(&wire).into_owned(), value);
        }
    }

    fn look_at_all(line: &str) {
        let Ok(guarded) = Guarded::new(line) else { return };
        let Ok(line) = guarded.line() else { return };
        let _ = (line.verb(), line.channel(), line.nick(), line.text(), line.params(), line.tag("a"));
        let _ = line.badges().count();
    }
}
