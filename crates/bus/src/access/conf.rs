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

/// What one account gives to the other, by name. From `OPS` to `APP` go only the orders of a worker, and parts of
/// snapshots.
fn add_passage(text: &mut String, account: Account) {
    let other = other(account);
    text.push_str("    exports: [\n");
    for subject in widest(&union(&across(other), |grant| &grant.publish)) {
        let name = subject.strip_prefix(OF_APP).unwrap_or(subject);
        // All services answer, not one.
        let many = if subject.starts_with("$SRV.") { "response: stream, " } else { "" };
        let _ = writeln!(text, "      {{ service: {name:?}, {many}accounts: [{}] }}", other.name());
    }
    for subject in streams(other) {
        let _ = writeln!(text, "      {{ stream: {subject:?}, accounts: [{}] }}", other.name());
    }
    text.push_str("    ]\n    imports: [\n");
    for subject in widest(&union(&across(account), |grant| &grant.publish)) {
        let name = subject.strip_prefix(OF_APP).unwrap_or(subject);
        let to = if name == subject { String::new() } else { format!(", to: {subject:?}") };
        let _ = writeln!(text, "      {{ service: {{ account: {}, subject: {name:?} }}{to} }}", other.name());
    }
    for subject in streams(account) {
        let _ = writeln!(text, "      {{ stream: {{ account: {}, subject: {subject:?} }} }}", other.name());
    }
    text.push_str("    ]\n");
}

const fn other(account: Account) -> Account {
    match account {
        Account::App => Account::Ops,
        Account::Ops => Account::App,
    }
}

/// What users of this account are granted of the other one.
fn across(account: Account) -> Vec<Grant> {
    let users = User::ALL.into_iter().filter(|user| user.account() == account);
    users.flat_map(User::grants).filter(|grant| grant.across).collect()
}

/// What comes to this account from the other one without being asked.
fn streams(account: Account) -> Vec<String> {
    match account {
        Account::App => vec![FOR_APP.to_owned()],
        Account::Ops => {
            let heard = across(account);
            widest(&union(&heard, |grant| &grant.subscribe)).into_iter().map(str::to_owned).collect()
        }
    }
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
        for account in Account::ALL {
            let given = across(account);
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
    }

    #[test]
    fn what_is_covered_is_left_out() {
        let patterns = BTreeSet::from(["a.>", "a.*.b", "b.*", "b.c", "c"]);
        assert_eq!(widest(&patterns), ["a.>", "b.*", "c"]);
    }

    /// Whoever is in `APP` reaches what is given to it, by a detour if need be: so no more than this is, of which nothing
    /// can be lost or read.
    #[test]
    fn app_is_given_what_a_person_orders_in_chat_and_nothing_else() {
        let given = across(Account::App);
        let asked = union(&given, |grant| &grant.publish);
        let verbs = |service: &str| -> BTreeSet<&str> {
            let prefix = format!("control.{service}.");
            asked.iter().filter_map(|subject| subject.strip_prefix(&prefix)).collect()
        };
        assert_eq!(verbs("deploy"), BTreeSet::from(["request", "force", "rollback", "status", "history"]));
        assert_eq!(verbs("backup"), BTreeSet::from(["create", "status", "list"]));
        assert_eq!(asked.len(), 8);
        assert!(given.iter().all(|grant| grant.subscribe.is_empty()));
        let worker: Vec<Grant> =
            User::CommandWorker.grants().into_iter().filter(|grant| grant.across).collect();
        assert_eq!(worker, given, "nobody else is granted any of it");
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
