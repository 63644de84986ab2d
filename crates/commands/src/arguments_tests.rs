//! Tests of [`Arguments`]: one line in, typed values or a clear sentence out.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::{OptionKind, OptionValue};

use super::Arguments;
use crate::{definition::Param, language::Language};

const fn param(name: &'static str, kind: OptionKind, required: bool) -> Param {
    Param { name, kind, required, complete: None }
}

static TIMER: [Param; 4] = [
    param("minutes", OptionKind::Integer, true),
    param("loud", OptionKind::Bool, true),
    param("who", OptionKind::User, false),
    param("text", OptionKind::Text, false),
];
static TITLE: [Param; 2] =
    [param("title", OptionKind::Text, true), param("count", OptionKind::Integer, false)];

fn read(line: &str, options: &[Param]) -> Result<Vec<(String, String)>, String> {
    let Arguments(values) = Arguments::of_line(line, options).map_err(|error| error.explain(Language::En))?;
    Ok(values.into_iter().map(|(name, value)| (name, super::shown(&value))).collect())
}

fn check(line: &str, options: &[Param], expected: &[(&str, &str)]) {
    let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    assert_eq!(read(line, options), Ok(expected.collect()), "from {line:?}");
}

fn check_error(line: &str, options: &[Param], expected: &str) {
    assert_eq!(read(line, options), Err(expected.to_owned()), "from {line:?}");
}

#[test]
fn reads_each_kind() {
    check("5 yes", &TIMER, &[("loud", "true"), ("minutes", "5")]);
    check(
        " -5  Non <@!42>  take the \"cake\" out ",
        &TIMER,
        &[("loud", "false"), ("minutes", "-5"), ("text", "take the \"cake\" out"), ("who", "42")],
    );
    check("1 on @ines", &TIMER, &[("loud", "true"), ("minutes", "1"), ("who", "ines")]);
}

#[test]
fn quotes_hold_words_together() {
    check("\"two words\" 3", &TITLE, &[("count", "3"), ("title", "two words")]);
    check("“deux mots” 3", &TITLE, &[("count", "3"), ("title", "deux mots")]);
    check("\"\" 3", &TITLE, &[("count", "3"), ("title", "")]);
    check("one 3", &TITLE, &[("count", "3"), ("title", "one")]);
}

#[test]
fn says_what_is_wrong() {
    check_error("", &TITLE, "‘title’ is missing");
    check_error("soon yes", &TIMER, "‘minutes’ takes a whole number, not ‘soon’");
    check_error("5 perhaps", &TIMER, "‘loud’ takes yes or no, not ‘perhaps’");
    check_error("5 no ???", &TIMER, "‘who’ takes a person, not ‘\u{200b}???’");
    check_error("\"two words", &TITLE, "a quote does not end");
    check_error("a 3 b", &TITLE, "‘b’ is too much");
    check_error("@everyone", &[], "‘\u{200b}@\u{200b}everyone’ is too much");
}

#[test]
fn takes_the_options_of_a_slash_command() {
    let options = |pairs: &[(&str, OptionValue)]| -> BTreeMap<String, OptionValue> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let given =
        options(&[("title", OptionValue::Text("two words".into())), ("count", OptionValue::Integer(3))]);
    let arguments = Arguments::of_options(&given, &TITLE).unwrap();
    assert_eq!(arguments.text("title"), Some("two words"));
    assert_eq!(arguments.integer("count"), Some(3));
    assert_eq!(arguments.flag("count"), None);

    let explain = |given| Arguments::of_options(&given, &TITLE).unwrap_err().explain(Language::En);
    assert_eq!(explain(options(&[])), "‘title’ is missing");
    assert_eq!(explain(options(&[("title", OptionValue::Bool(true))])), "‘title’ takes a text, not ‘true’");
    assert_eq!(explain(options(&[("gone", OptionValue::Bool(true))])), "‘gone’ is too much");
}

proptest! {
    #[test]
    fn never_panics_and_keeps_the_rest_whole(line in r#"(?s)("|“|”| |[0-9]|yes|<@|.){0,40}"#) {
        let _ = Arguments::of_line(&line, &TIMER);
        let _ = Arguments::of_line(&line, &TITLE);
        let text = [param("text", OptionKind::Text, false)];
        let arguments = Arguments::of_line(&line, &text).unwrap();
        prop_assert_eq!(arguments.text("text").unwrap_or_default(), line.trim());
    }
}
