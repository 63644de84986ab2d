//! What differs from run to run, taken out of what was said.

use std::path::Path;

use crate::folder::Folder;

/// What numbers stand behind that differ.
const NUMBERS: [&str; 9] = [
    "process ",
    "\"pid\":",
    "\"after_ms\":",
    " after ",
    "NATS ",
    "\"version\":\"",
    "http://127.0.0.1:",
    "nats://127.0.0.1:",
    "free ",
];
/// Times; those that begin so were chosen by a test.
const TIMES: [&str; 5] =
    ["\"since_ms\":", "\"at_ms\":", "\"at_ms\": ", "\"received_us\":", "\"received_us\": "];
const CHOSEN: [&str; 2] = ["17000", "2023-11-14"];
/// What is told by how long ago it was.
const AGO: [&str; 2] = ["last good backup ", "asked "];
/// What `check` says of the machine that the tests run on, and `doctor` although it is shown another one.
pub(super) const OF_THE_MACHINE: &[&str] = &["disk", "machine", "memory"];
pub(super) const OF_THE_DISK: &[&str] = &["disk"];

/// `url`: of the NATS of this place.
pub(super) fn said(text: &str, folder: &Folder, url: Option<&str>) -> String {
    let mut text = text.to_owned();
    let canonical = folder.path().canonicalize().unwrap();
    for path in [&canonical, folder.path()] {
        text = text.replace(&Path::display(path).to_string(), "<folder>");
    }
    if let Some(url) = url {
        text = text.replace(url, "<nats>");
    }
    for start in NUMBERS {
        // Nobody listens on port 9.
        let kept: &[&str] = if start.contains("//") { &["9:", "9\n", "9\""] } else { &[] };
        text = numbers(&text, start, "<number>", kept);
    }
    for unit in ["ms", "s"] {
        text = text.replace(&format!(" after <number> {unit}"), " after <time>");
    }
    for start in TIMES {
        text = numbers(&text, start, "<time>", &CHOSEN);
    }
    // A Pi of the tests has the processor of the machine that they run on.
    text = text.replace(&format!(", {}", std::env::consts::ARCH), ", <processor>");
    dates(&AGO.iter().fold(text, |text, start| ago(&text, start)))
}

/// Without the time between `start` and `ago`.
fn ago(text: &str, start: &str) -> String {
    let masked = |line: &str| {
        let (before, rest) = line.split_once(start)?;
        let (_, after) = rest.split_once(" ago")?;
        Some(format!("{before}{start}<time> ago{after}\n"))
    };
    text.lines().map(|line| masked(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

/// Each run of digits and points behind `start` is `mask`, but for what begins as one of `kept`.
fn numbers(text: &str, start: &str, mask: &str, kept: &[&str]) -> String {
    let mut parts = text.split(start);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let kept = rest.len() == part.len() || kept.iter().any(|kept| part.starts_with(kept));
        masked += start;
        masked += if kept { part } else { mask };
        masked += if kept { "" } else { rest };
    }
    masked
}

/// `2023-11-14 22:13:20`, but for those that were chosen.
fn dates(text: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00";
    let fits = |at: &[u8]| {
        at.len() >= SHAPE.len()
            && SHAPE
                .iter()
                .zip(at)
                .all(|(shape, c)| if *shape == b'0' { c.is_ascii_digit() } else { shape == c })
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let chosen = CHOSEN.iter().any(|chosen| rest.starts_with(chosen));
        if fits(rest.as_bytes()) && !chosen {
            masked += "<date and time now>"; // as wide, so that columns stay
            rest = &rest[SHAPE.len()..];
        } else {
            masked.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    masked
}

/// Without what depends on the machine that the tests run on, and how many of that should be mended.
pub(super) fn findings(text: &str, areas: &[&str]) -> String {
    let mut kept = String::new();
    let mut left_out = false;
    for line in text.lines() {
        let of_the_machine = areas.iter().any(|area| {
            line.chars().skip(2).collect::<String>().starts_with(area)
                || line.contains(&format!("\"area\":\"{area}\""))
        });
        left_out = of_the_machine || (left_out && line.trim_start().starts_with('→'));
        if !left_out {
            let line = line
                .split_once(" should be mended")
                .map_or(line, |(before, _)| before.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end());
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Of a `vigie up`: what it tells of its parts, in no order, since they start side by side.
pub(super) fn reports(text: &str) -> String {
    let told = |line: &&str| {
        let is_report = line.starts_with("vigie") || line.starts_with('{');
        let passing = ["not ready", "\"waiting\""];
        is_report && !passing.iter().any(|word| line.contains(word))
    };
    let mut lines: Vec<&str> = text.lines().filter(told).collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The beginning of what is long.
pub(super) fn beginning(text: &str) -> String {
    const LINES: usize = 5;
    let mut kept: Vec<&str> = text.lines().take(LINES).collect();
    if text.lines().nth(LINES).is_some() {
        kept.push("…");
    }
    kept.iter().map(|line| format!("{line}\n")).collect()
}
