//! What whoever gave an order reads, from the first word to the last.

use std::fmt::Write as _;

use super::*;

fn job(step: &str, done: u64, total: Option<u64>) -> Job {
    Job {
        id: "deploy-3".to_owned(),
        verb: "request".to_owned(),
        by: "discord:5".to_owned(),
        step: step.to_owned(),
        done,
        total,
        began_ms: 1_000,
        end: None,
    }
}

fn deploy(state: DeployState, words: &str) -> Deploy {
    Deploy {
        id: "deploy-3".to_owned(),
        by: "discord:5".to_owned(),
        from: Some("v1.4.0".to_owned()),
        to: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
        began_ms: 1_000,
        ended_ms: 76_000,
        state,
        words: words.to_owned(),
    }
}

/// All of it in both languages.
fn told(order: &Order, looks: &[Look<'_>]) -> String {
    let mut out = String::new();
    for language in Language::ALL {
        let words = Words { language, order, prefix: "/" };
        writeln!(out, "── {language}").unwrap();
        writeln!(out, "{}", words.accepted("deploy-3")).unwrap();
        writeln!(out, "{}", words.told_here("deploy-3").content.text).unwrap();
        writeln!(out, "{}", words.told_at_the_end("deploy-3")).unwrap();
        for look in looks {
            writeln!(out, "{}", words.look("deploy-3", *look)).unwrap();
        }
        for silence in [Silence::Nobody, Silence::Late, Silence::Refused("ask @everyone".to_owned())] {
            writeln!(out, "{}", words.silence(&silence).content.text).unwrap();
        }
        writeln!(out, "{}", words.uncertain().content.text).unwrap();
        writeln!(out, "{}", words.too_many().content.text).unwrap();
    }
    out.replace('\u{200b}', "|")
}

#[test]
fn an_update_is_told_from_beginning_to_end() {
    let steps = [
        job("resolve", 0, Some(10)),
        job("workers: one is not ready", 6, Some(10)),
        job("back: gateways", 2, Some(4)),
        job("something new", 0, None),
    ];
    let ends = [
        deploy(DeployState::RolledOut, "updated to v1.5.0"),
        deploy(DeployState::RolledBackTo, "v1.5.0 failed at gate: not ready\nv1.4.0 runs again"),
        deploy(DeployState::NeverStarted, "preflight: no room on the disk"),
        deploy(DeployState::RollbackFailed, "docker does not answer"),
    ];
    let end = JobEnd { at_ms: 9_000, good: false, words: "it broke".to_owned() };
    let looks: Vec<Look<'_>> = [Look::Waits(&steps[0])]
        .into_iter()
        .chain(steps.iter().map(Look::GoesOn))
        .chain(ends.iter().map(Look::Deployed))
        .chain([
            Look::NothingNew { current: Some("v1.5.0") },
            Look::Over(&steps[0], &end),
            Look::Missed,
            Look::GivenUp { after: Duration::from_secs(1_800) },
        ])
        .collect();
    insta::assert_snapshot!(told(&Order::Update { force: false }, &looks));
}

#[test]
fn a_backup_is_told_with_its_size() {
    let steps = [job("database", 0, None), job("repository", 37_000_000, Some(100_000_000))];
    let backup = Backup {
        id: "2026-11-22T07-00".to_owned(),
        at_ms: 1_500,
        bytes: Some(12_900_000),
        parts: ["database", "streams"].map(str::to_owned).to_vec(),
        proved_ms: None,
    };
    let over =
        Job { end: Some(JobEnd { at_ms: 9_000, good: true, words: String::new() }), ..steps[0].clone() };
    let looks = [Look::GoesOn(&steps[0]), Look::GoesOn(&steps[1]), Look::Saved(&backup, &over), Look::Missed];
    insta::assert_snapshot!(told(&Order::Backup, &looks));
}

#[test]
fn a_rollback_is_called_one() {
    let order = Order::Rollback { to: None };
    let words = Words { language: Language::En, order: &order, prefix: "!" };
    let end = deploy(DeployState::RolledOut, "");
    assert_eq!(
        words.look("deploy-3", Look::Deployed(&end)),
        "✅ rollback deploy-3: 3f786850e387 runs everywhere (1 min 15 s)"
    );
    assert_eq!(words.look("deploy-3", Look::Missed).split('!').next_back(), Some("deploys tells"));
}

#[test]
fn the_longest_end_fits_into_one_message_of_each_platform() {
    let long = "x".repeat(5_000);
    let end =
        Deploy { from: Some(long.clone()), to: long.clone(), ..deploy(DeployState::RolledBackTo, &long) };
    for language in Language::ALL {
        let words = Words { language, order: &Order::Update { force: true }, prefix: "!" };
        let text = words.look(&long, Look::Deployed(&end));
        assert!(text.chars().count() < 2_000, "{text}");
    }
}
