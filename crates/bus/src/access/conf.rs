//! The table as the configuration of nats-server, which its `nats.conf` includes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Account, Grant, OF_APP, User};

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

/// What `APP` gives to `OPS`. Nothing goes the other way.
fn add_passage(text: &mut String, account: Account) {
    let given: Vec<Grant> =
        User::ALL.into_iter().flat_map(User::grants).filter(|grant| grant.of_app).collect();
    let asked = union(&given, |grant| &grant.publish);
    let heard = union(&given, |grant| &grant.subscribe);
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
}

fn union(grants: &[Grant], of: impl Fn(&Grant) -> &Vec<String>) -> BTreeSet<&str> {
    grants.iter().flat_map(|grant| of(grant).iter().map(String::as_str)).collect()
}
