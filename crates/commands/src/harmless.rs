//! Makes text that a stranger wrote safe to say: no line breaks, no mention, no command of the
//! platform or of another bot, no link that hides where it leads.

/// Shows as nothing, and keeps a platform from reading what stands around it as one thing.
const BREAK: char = '\u{200b}';

/// The same text, harmless, in at most `longest` characters.
///
/// - Line breaks and other control characters become spaces; marks that turn the direction of writing
///   or are invisible go away.
/// - `@` is followed by an invisible break, so that neither `@everyone`, `<@1>`, `<@&1>` nor the name of a role
///   or a person mentions anybody.
/// - A text that starts with anything but a letter or digit starts with an invisible break: `/ban` and
///   `.ban` are commands on Twitch, `!ban` one of another bot, `#` a headline on Discord.
/// - `[shown](target)` is broken up, so that both parts are seen.
#[must_use]
pub fn harmless(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_bracket = false;
    let visible = text.chars().map(|c| if c.is_control() || is_line_break(c) { ' ' } else { c });
    for c in visible.filter(|c| !is_invisible(*c)) {
        if c == '(' && after_bracket {
            out.push(BREAK);
        }
        if !is_joiner(c) {
            after_bracket = c == ']';
        }
        out.push(c);
        if is_at(c) {
            out.push(BREAK);
        }
    }
    let trimmed = out.trim();
    let mut out = match trimmed.chars().next() {
        Some(first) if !first.is_alphanumeric() => format!("{BREAK}{trimmed}"),
        _ => trimmed.to_owned(),
    };
    shorten(&mut out, longest);
    out
}

/// Cuts a text that is too long and says so with an ellipsis.
fn shorten(text: &mut String, longest: usize) {
    if text.chars().count() <= longest {
        return;
    }
    let kept = longest.saturating_sub(1);
    let end = text.char_indices().nth(kept).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    if longest > 0 {
        text.push('…');
    }
}

/// The at sign in all its forms; a client may fold the wide ones.
const fn is_at(c: char) -> bool {
    matches!(c, '@' | '\u{fe6b}' | '\u{ff20}')
}

/// Line and paragraph separator, which are no control characters.
const fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Joiners are invisible too, but scripts and emoji need them.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Soft hyphen, zero-width space and marks, direction overrides, word joiners, fillers, tags.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::harmless;

    fn check(text: &str, expected: &str) {
        assert_eq!(harmless(text, 100).replace('\u{200b}', "|"), expected, "from {text:?}");
    }

    #[test]
    fn says_plain_words_as_they_are() {
        check("hello, world: 1 < 2 (really)", "hello, world: 1 < 2 (really)");
        check("ça va ? 日本語", "ça va ? 日本語");
        check("👨‍👩‍👧", "|👨‍👩‍👧");
    }

    #[test]
    fn breaks_every_mention() {
        check("hi @everyone @here", "hi @|everyone @|here");
        check("<@1> <@!1> <@&1> @moderators", "|<@|1> <@|!1> <@|&1> @|moderators");
        check("@\u{200b}everyone @\u{2060}here", "|@|everyone @|here");
        check("＠everyone", "|＠|everyone");
    }

    #[test]
    fn starts_no_command() {
        check("/ban ines", "|/ban ines");
        check(" \u{200b} .timeout ines", "|.timeout ines");
        check("!addcom", "|!addcom");
        check("# loud", "|# loud");
    }

    #[test]
    fn stays_on_one_line() {
        check("a\r\nPRIVMSG #b :c\0\u{2028}d", "a  PRIVMSG #b :c  d");
        check("\r\n/ban", "|/ban");
    }

    #[test]
    fn shows_where_a_link_leads() {
        check("[bank](https://evil.example)", "|[bank]|(https://evil.example)");
        check("[bank]\u{200d}(https://evil.example)", "|[bank]\u{200d}|(https://evil.example)");
        check("[bank]\u{2060}(https://evil.example)", "|[bank]|(https://evil.example)");
    }

    #[test]
    fn is_never_too_long() {
        assert_eq!(harmless("abcdef", 4), "abc…");
        assert_eq!(harmless("abcd", 4), "abcd");
        assert_eq!(harmless("abcd", 0), "");
    }

    proptest! {
        #[test]
        fn never_mentions_commands_or_breaks_the_line(
            text in r"(?s)([@<>&!/.\r\n\u{200b}\u{200d}\u{2060}\[\]\(\)＠ ]|everyone|here|[0-9]{1,3}|.){0,60}",
            longest in 0_usize..80,
        ) {
            let said = harmless(&text, longest);
            prop_assert!(said.chars().count() <= longest);
            let line_breaks = ['\r', '\n', '\0', '\u{2028}', '\u{2029}', '\u{85}'];
            prop_assert!(!said.contains(line_breaks));
            prop_assert!(!said.starts_with(['/', '.', '!', ' ', '#']));
            prop_assert!(!said.contains("]("));
            let mut rest = said.chars().peekable();
            while let Some(c) = rest.next() {
                if matches!(c, '@' | '＠') {
                    let next = rest.peek().copied();
                    prop_assert!(matches!(next, None | Some('\u{200b}' | '…')), "{said:?}");
                }
            }
        }
    }
}
