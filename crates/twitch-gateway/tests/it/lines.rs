//! Real and strange lines through the guard, the parser and the mapping.

use std::{fmt::Write as _, path::Path};

use twitch_gateway::{
    irc::Guarded,
    mapping::{Mapper, Passed},
};

/// Lines as Twitch writes them, with names that nobody has.
const FIXTURES: &str = include_str!("fixtures/lines.irc");
/// When they were read, in Unix microseconds.
const READ_AT: u64 = 1_700_000_000_000_000;

/// What one line becomes, as one line of text.
fn told(mapper: &mut Mapper, line: &str) -> String {
    let guarded = Guarded::new(line);
    match guarded.as_ref().map_err(|rejected| *rejected).and_then(Guarded::line) {
        Err(rejected) => format!("rejected: {rejected}"),
        Ok(line) => match mapper.event(&line, READ_AT) {
            Err(passed) => format!("passed: {}", passed.as_str()),
            Ok(event) => serde_json::to_string(&event).unwrap(),
        },
    }
}

#[test]
fn lines_become_these_events() {
    let mut mapper = Mapper::new("vigie_bot", "!");
    mapper.set_own_id("600100999");
    let mut story = String::new();
    for line in FIXTURES.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => writeln!(story, "\n{title}").unwrap(),
            None => writeln!(story, "  {}", told(&mut mapper, line)).unwrap(),
        }
    }
    insta::assert_snapshot!(story);
}

#[test]
fn lines_seen_in_the_wild_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/twitch");
    let mut read = 0;
    for name in ["chat-capture.irc", "lines-a.irc", "lines-b.irc"] {
        let Ok(text) = std::fs::read_to_string(folder.join(name)) else {
            testkit::skipped(&format!("{} is not here", folder.join(name).display()));
            continue;
        };
        let (mut events, mut incomplete) = (0, 0);
        let mut mapper = Mapper::new("vigie_bot", "!");
        for line in text.lines() {
            let guarded = Guarded::new(line);
            let Ok(line) = guarded.as_ref().map_err(|rejected| *rejected).and_then(Guarded::line) else {
                continue;
            };
            match mapper.event(&line, READ_AT) {
                Ok(_) => events += 1,
                Err(Passed::Incomplete) => incomplete += 1,
                Err(_) => {}
            }
            read += 1;
        }
        println!("{name}: {events} events, {incomplete} incomplete of {}", text.lines().count());
        if name == "chat-capture.irc" {
            assert_eq!((events, incomplete), (448, 2), "all of a real chat but two CLEARCHAT");
        }
    }
    println!("{read} lines read");
}
