//! `echo`: says what it is told, made harmless.

use std::time::Duration;

use protocol::{OptionKind, Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, Param, harmless};

/// The longest text it repeats, in characters; fits into one message on every platform.
const LONGEST: usize = 400;

pub(super) static COMMAND: Definition = Definition {
    name: "echo",
    options: &[Param { name: "text", kind: OptionKind::Text, required: true, complete: None }],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(5),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let text = harmless(ask.arguments.text("text").unwrap_or_default(), LONGEST);
    if text.is_empty() {
        return Ok(Answer::note(ask.say("echo-nothing", &[])));
    }
    Ok(Answer::text(text))
}

#[cfg(test)]
mod tests {
    use crate::fixture::{answer, both_languages};

    #[tokio::test]
    async fn repeats_a_text_without_its_mentions() {
        assert_eq!(answer("!echo hello @everyone").await.content.text, "hello @\u{200b}everyone");
        insta::assert_snapshot!(both_languages("echo [bank](https://evil.example)").await);
        insta::assert_snapshot!(both_languages("echo \u{200b}").await);
    }
}
