//! The page about security shows the table as it is.

use std::fmt::Write as _;

use bus::{
    User,
    access::{Account, Grant},
};

const PAGE: &str = include_str!("../../../../../docs/security.md");
const BEGIN: &str = "<!-- the table, as it is in crates/bus/src/access/table.rs -->\n";
const END: &str = "<!-- end of the table -->\n";

/// A row: what for, what is published to, what is listened to.
fn row(user: User, grant: &Grant) -> String {
    let cell = |subjects: &[String]| {
        let quoted: Vec<String> = subjects.iter().map(|subject| format!("`{subject}`")).collect();
        quoted.join(" ")
    };
    let of = match (grant.across, user.account()) {
        (false, _) => "",
        (true, Account::App) => " (of `OPS`)",
        (true, Account::Ops) => " (of `APP`)",
    };
    format!("| {}{of} | {} | {} |\n", grant.why, cell(&grant.publish), cell(&grant.subscribe))
}

fn tables() -> String {
    let mut text = String::new();
    for user in User::ALL {
        let _ = write!(text, "\n### {user}\n\nIn `{}`.\n\n", user.account().name());
        text += "| to | publishes to | listens to |\n|---|---|---|\n";
        text.extend(user.grants().iter().map(|grant| row(user, grant)));
    }
    text + "\n"
}

#[test]
fn the_page_about_security_shows_the_table_as_it_is() {
    let shown = PAGE.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(shown, _)| shown);
    let expected = tables();
    assert!(shown == Some(&*expected), "docs/security.md: expected this between the two marks:\n{expected}");
}
