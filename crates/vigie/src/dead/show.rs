//! `vigie dead show`: one letter with everything in it.

use std::process::ExitCode;

use anyhow::bail;
use bus::Letter;
use serde_json::{Value, json};

use super::{late::Late, list};
use crate::{
    cli,
    find::Which,
    paint::{self, Paint},
};

/// Arguments of `vigie dead show`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// The number of the letter, as `vigie dead list` shows it
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub which: Which,
}

/// Prints one letter; exit code 1 when there is none with this number.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (_, letters) = super::open(&options.which, None).await?;
    let Some(letter) = letters.get(options.number).await? else {
        bail!("there is no dead letter {}: `vigie dead list` shows which there are", options.number);
    };
    let text = if options.json {
        program(&letter).to_string() + "\n"
    } else {
        person(&letter, service::clock::unix_ms(), Paint::stdout())
    };
    cli::say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn program(letter: &Letter) -> Value {
    let mut all = list::line(letter);
    match serde_json::from_slice::<Value>(&letter.payload) {
        Ok(payload) => all["payload"] = payload,
        Err(_) => all["payload_text"] = json!(String::from_utf8_lossy(&letter.payload)),
    }
    all
}

fn person(letter: &Letter, now_ms: u64, paint: Paint) -> String {
    let unknown = || "-".to_owned();
    let trace = letter.trace.as_deref().map(service::trace::id);
    let rows = [
        ("number", letter.number.to_string()),
        ("when", paint::when(letter.at_ms()) + " UTC"),
        ("stream", letter.stream.clone()),
        ("subject", letter.subject.clone().unwrap_or_else(unknown)),
        ("id", letter.id.clone().unwrap_or_else(unknown)),
        ("tries", letter.attempts.map_or_else(unknown, |attempts| attempts.to_string())),
        ("reason", letter.reason.clone().unwrap_or_else(unknown)),
        ("trace", trace.map_or_else(unknown, str::to_owned)),
        ("size", paint::bytes(letter.payload.len() as u64)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        text += &format!("{}  {}\n", paint.faint(&format!("{name:<7}")), paint::harmless(&value));
    }
    if let Some(late) = Late::of(letter, now_ms) {
        let advice = format!("! replay it with --as-new: {}\n", late.reason());
        text += &paint.bad(&advice);
    }
    text.push('\n');
    let payload = match serde_json::from_slice::<Value>(&letter.payload) {
        Ok(payload) => format!("{payload:#}"),
        Err(error) => {
            text += &paint.bad(&format!("! the payload is no JSON: {error}\n"));
            String::from_utf8_lossy(&letter.payload).into_owned()
        }
    };
    for line in payload.lines() {
        text += &paint::harmless(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn letter(payload: &[u8]) -> Letter {
        Letter {
            number: 7,
            at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            stream: "EVENTS".to_owned(),
            subject: Some("event.discord.42.command".to_owned()),
            id: Some("discord:9".to_owned()),
            reason: Some("it broke".to_owned()),
            attempts: Some(5),
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn a_payload_is_spread_out_and_a_late_command_is_told() {
        let message = json!({ "id": "9", "channel": "7", "author": { "id": "5", "name": "Ma\u{202e}x" },
                              "text": "!ping" });
        let event = json!({ "v": 1, "id": "discord:9", "platform": "discord", "community": "42",
            "at_ms": 1_700_000_000_000_u64, "received_us": 1_700_000_000_130_000_u64,
            "body": { "command": { "message": message, "prefix": "!" } } });
        let letter = letter(event.to_string().as_bytes());
        insta::assert_snapshot!(person(&letter, 1_700_003_700_000, Paint::plain()));
        assert_eq!(program(&letter)["payload"]["at_ms"], 1_700_000_000_000_u64);
    }

    #[test]
    fn what_is_no_json_is_shown_as_text() {
        let mut letter = letter(b"{\"v\": \x1b[2J\xff\nnext");
        (letter.subject, letter.id, letter.reason) = (None, None, None);
        (letter.attempts, letter.trace) = (None, None);
        insta::assert_snapshot!(person(&letter, 0, Paint::plain()));
        assert_eq!(program(&letter)["payload_text"], "{\"v\": \u{1b}[2J\u{fffd}\nnext");
    }
}
