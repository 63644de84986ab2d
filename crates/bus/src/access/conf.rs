//! The table as the configuration of nats-server, which its `nats.conf` includes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Account, FOR_APP, Grant, OF_APP, User};

const HEAD: &str = "\
# Written by `vigie keys`: changes here are lost. Only public keys are in it. docs/security.md shows the same
# as a table. Whoever has no key is refused.
";

/// What nats-server is told, when each user has this public key. The same table and keys give the same text.
#[must_use]
pub fn render(public: &BTreeMap<User, String>) -> String {
    let mut text = HEAD.to_owned();
    text += "accounts {\n";
    for account in Account::ALL {
        let _ = writeln!(text, "  {} {{", account.name());
        if account == Account::App {
            text += "    jetstream: enabled\n";
        }
        text += "    users: [\n";
        for (user, key) in public.iter().filter(|(user, _)| user.account() == account) {
            add_user(&mut text, *user, key);
        }
        text += "    ]\n";
        add_passage(&mut text, account);
        text += "  }\n";
    }
    text + "}\n"
}

fn add_user(text: &mut String, user: User, key: &str) {
    let grants = user.grants();
    let publish = union(&grants, |grant| &grant.publish);
    let subscribe = union(&grants, |grant| &grant.subscribe);
    let _ = write!(text, "      # {user}\n      {{ nkey: {key}, permissions: {{\n");
    for (verb, subjects) in [("publish", publish), ("subscribe", subscribe)] {
        let _ = writeln!(text, "        {verb}: {{ allow: [");
        for subject in subjects {
            let _ = writeln!(text, "          {subject:?}");
        }
        text.push_str("        ] }\n");
    }
    text.push_str("      } }\n");
}

/// What `APP` gives to `OPS`; the other way go only parts of snapshots.
fn add_passage(text: &mut String, account: Account) {
    let given: Vec<Grant> =
        User::ALL.into_iter().flat_map(User::grants).filter(|grant| grant.of_app).collect();
    let asked = widest(&union(&given, |grant| &grant.publish));
    let heard = widest(&union(&given, |grant| &grant.subscribe));
    let (word, app, ops) = match account {
        Account::App => ("exports", Account::App.name(), Account::Ops.name()),
        Account::Ops => ("imports", Account::App.name(), Account::Ops.name()),
    };
    let _ = writeln!(text, "    {word}: [");
    for subject in asked {
        let name = subject.strip_prefix(OF_APP).unwrap_or(subject);
        let _ = match account {
            Account::App => {
                // All services answer, not one.
                let many = if subject.starts_with("$SRV.") { "response: stream, " } else { "" };
                writeln!(text, "      {{ service: {name:?}, {many}accounts: [{ops}] }}")
            }
            Account::Ops => {
                let to = if name == subject { String::new() } else { format!(", to: {subject:?}") };
                writeln!(text, "      {{ service: {{ account: {app}, subject: {name:?} }}{to} }}")
            }
        };
    }
    for subject in heard {
        let _ = match account {
            Account::App => writeln!(text, "      {{ stream: {subject:?}, accounts: [{ops}] }}"),
            Account::Ops => writeln!(text, "      {{ stream: {{ account: {app}, subject: {subject:?} }} }}"),
        };
    }
    text.push_str("    ]\n");
    let _ = match account {
        Account::App => {
            writeln!(text, "    imports: [ {{ stream: {{ account: {ops}, subject: {FOR_APP:?} }} }} ]")
        }
        Account::Ops => writeln!(text, "    exports: [ {{ stream: {FOR_APP:?}, accounts: [{app}] }} ]"),
    };
}

/// Without what another one covers: what passes by two ways would arrive twice.
fn widest<'a>(patterns: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let alone = |one: &&&str| !patterns.iter().any(|other| other != *one && covers(other, one));
    patterns.iter().filter(alone).copied().collect()
}

fn covers(wide: &str, narrow: &str) -> bool {
    let mut tokens = narrow.split('.');
    for wanted in wide.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

fn union(grants: &[Grant], of: impl Fn(&Grant) -> &Vec<String>) -> BTreeSet<&str> {
    grants.iter().flat_map(|grant| of(grant).iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether some subject fits both.
    fn meet(one: &str, other: &str) -> bool {
        match (one.split_once('.'), other.split_once('.')) {
            _ if one == ">" || other == ">" => true,
            (Some((one, ones)), Some((other, others))) => token(one, other) && meet(ones, others),
            (None, None) => token(one, other),
            _ => false,
        }
    }

    fn token(one: &str, other: &str) -> bool {
        one == other || one == "*" || other == "*"
    }

    #[test]
    fn nothing_passes_from_one_account_to_the_other_by_two_ways() {
        let given: Vec<Grant> = User::ALL.into_iter().flat_map(User::grants).filter(|it| it.of_app).collect();
        for of in [|grant: &Grant| grant.publish.clone(), |grant: &Grant| grant.subscribe.clone()] {
            let all: BTreeSet<String> = given.iter().flat_map(of).collect();
            let ways = widest(&all.iter().map(String::as_str).collect());
            for (at, one) in ways.iter().enumerate() {
                for other in &ways[at + 1..] {
                    assert!(!meet(one, other), "{one} and {other}");
                }
            }
        }
    }

    #[test]
    fn what_is_covered_is_left_out() {
        let patterns = BTreeSet::from(["a.>", "a.*.b", "b.*", "b.c", "c"]);
        assert_eq!(widest(&patterns), ["a.>", "b.*", "c"]);
    }

    #[test]
    fn only_users_of_ops_are_given_what_is_of_app() {
        for user in User::ALL.into_iter().filter(|user| user.account() == Account::App) {
            assert!(user.grants().iter().all(|grant| !grant.of_app), "{user}");
        }
    }

    #[test]
    fn the_server_is_told_the_same_each_time() {
        let public = User::ALL.map(|user| (user, format!("U{}", user.name().to_uppercase()))).into();
        let text = render(&public);
        assert_eq!(text, render(&public));
        assert!(text.contains("nkey: UDASHBOARD,"), "{text}");
        assert!(text.contains("to: \"app.$JS.API.STREAM.INFO.EVENTS\""), "{text}");
    }
}
