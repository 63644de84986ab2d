//! The file that says which hooks there are: one table of TOML each, with the secret in a file of its own.

use std::{fs, path::Path};

use toml::{Table, Value};

use crate::{
    network::Networks,
    payload::Event,
    signature::{Forge, Secret},
};

/// More repositories than any bot is built from.
const HOOKS_MAX: usize = 64;
/// The longest file, in bytes.
const FILE_MAX: u64 = 64 * 1024;
/// The longest name of a hook, and the longest of a branch or a repository, in bytes.
const ID_MAX: usize = 32;
const NAME_MAX: usize = 200;

const UNKNOWN: &str = "is unknown; expected forge, repository, branch, secret_file, events or networks";
const UNKNOWN_OF_CI: &str = "is unknown; of a ci expected forge, secret_file or networks";

/// Where the deliveries of one repository come in.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The last part of its address: `/hooks/<id>`.
    pub id: String,
    /// Which program sends deliveries.
    pub forge: Forge,
    /// What it proves itself with.
    pub secret: Secret,
    /// What of it counts; of a CI, which tells of nothing else, everything.
    pub about: Option<About>,
    /// Where deliveries may come from; without it from everywhere.
    pub networks: Option<Networks>,
}

/// What of a forge counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The one repository, such as `ines/vigie`.
    pub repository: String,
    /// The one branch.
    pub branch: String,
    /// What is waited for.
    pub events: Vec<Event>,
}

/// Reads the file; paths of secrets start in its folder.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Hook>, Vec<String>> {
    let text = read_file(path).map_err(|reason| vec![format!("{}: {reason}", path.display())])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, |secret| read_file(&folder.join(secret)))
}

/// Reads the text of such a file; `file` reads one of a secret.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: impl Fn(&str) -> Result<String, String>) -> Result<Vec<Hook>, Vec<String>> {
    let tables: Table = match text.parse::<Table>() {
        Ok(tables) => tables,
        Err(error) => return Err(vec![format!("is no TOML: {}", error.to_string().trim_end())]),
    };
    let mut problems = Vec::new();
    if !(1..=HOOKS_MAX).contains(&tables.len()) {
        problems.push(format!("has {} hooks, expected 1 to {HOOKS_MAX}, such as [site]", tables.len()));
    }
    let mut hooks: Vec<Hook> = Vec::new();
    for (id, value) in tables {
        let Value::Table(table) = value else {
            problems.push(format!("{id}: expected a hook, such as [site]"));
            continue;
        };
        let mut fields = Fields { place: format!("[{id}]"), table, problems: &mut problems };
        let Some(hook) = hook(id, &mut fields, &file) else { continue };
        match hooks.iter().find(|other| other.secret.is(&hook.secret)) {
            None => hooks.push(hook),
            Some(other) => {
                fields.problem(
                    "secret_file",
                    &format!("is the secret of [{}] too, expected one of its own", other.id),
                );
            }
        }
    }
    if problems.is_empty() { Ok(hooks) } else { Err(problems) }
}

/// One table, of which every fault is noted.
struct Fields<'a> {
    place: String,
    table: Table,
    problems: &'a mut Vec<String>,
}

impl Fields<'_> {
    fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(format!("{} {name}: {message}", self.place));
    }

    /// A value that must be there, and fine.
    fn text<T>(&mut self, name: &str, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let found = self.table.remove(name);
        let value = found.as_ref().and_then(Value::as_str).and_then(read);
        match (&value, found) {
            (Some(_), _) => {}
            (None, None) => self.problem(name, &format!("is not set, expected {expected}")),
            (None, Some(found)) => self.problem(name, &format!("expected {expected}, found {found}")),
        }
        value
    }

    /// Values that need not be there; a fault is noted, which makes the file unusable.
    fn list<T>(&mut self, name: &str, expected: &str, read: impl FnOnce(&[&str]) -> Option<T>) -> Option<T> {
        let found = self.table.remove(name)?;
        let texts =
            found.as_array().and_then(|values| values.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let value = texts.filter(|texts| !texts.is_empty()).and_then(|texts| read(&texts));
        if value.is_none() {
            self.problem(name, &format!("expected {expected}, found {found}"));
        }
        value
    }
}

fn hook(id: String, fields: &mut Fields<'_>, file: impl Fn(&str) -> Result<String, String>) -> Option<Hook> {
    if !is_id(&id) {
        fields.problem("", &format!("expected a name of 1 to {ID_MAX} of a-z 0-9 -"));
    }
    let names = Forge::ALL.map(Forge::name).join(", ");
    let forge = fields.text("forge", &format!("one of {names}"), |text| {
        Forge::ALL.into_iter().find(|forge| forge.name() == text)
    });
    let about = if forge == Some(Forge::Ci) { None } else { Some(about(fields)) };
    let secret =
        fields.text("secret_file", "the path of a file", |path| Some(path.to_owned())).and_then(|path| {
            // The form of GitLab's signing token is its own; the length of the others is the same.
            let forge = forge.unwrap_or(Forge::GitHub);
            let secret = file(&path).and_then(|text| Secret::new(forge, text.trim_end_matches(['\r', '\n'])));
            secret.map_err(|reason| fields.problem("secret_file", &format!("{path}: {reason}"))).ok()
        });
    let networks = fields.list("networks", "networks such as \"192.0.2.0/24\"", |texts| {
        Networks::parse(texts.iter().copied()).ok()
    });
    for (name, _) in std::mem::take(&mut fields.table) {
        fields.problem(&name, if about.is_some() { UNKNOWN } else { UNKNOWN_OF_CI });
    }
    let about = match about {
        Some(about) => Some(about?),
        None => None,
    };
    Some(Hook { id, forge: forge?, secret: secret?, about, networks })
}

fn about(fields: &mut Fields<'_>) -> Option<About> {
    let repository = fields.text("repository", "a repository such as \"ines/vigie\"", |text| {
        is_repository(text).then(|| text.to_owned())
    });
    let branch =
        fields.text("branch", "a branch such as \"main\"", |text| is_branch(text).then(|| text.to_owned()));
    let events = fields.list("events", "some of \"push\", \"release\"", |names| {
        let event = |name: &&str| Event::ALL.into_iter().find(|event| event.name() == *name);
        names.iter().map(event).collect()
    });
    let events = events.unwrap_or_else(|| vec![Event::Push]);
    Some(About { repository: repository?, branch: branch?, events })
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_MAX {
        return Err(format!("has {length} bytes, at most {FILE_MAX} are read"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

fn is_id(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(fine)
}

fn is_name(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(fine)
}

/// GitLab has groups within groups.
fn is_repository(text: &str) -> bool {
    text.len() <= NAME_MAX && text.contains('/') && text.split('/').all(is_name)
}

fn is_branch(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [site]
        forge = "github"
        repository = "ines/vigie"
        branch = "main"
        secret_file = "a"
    "#;

    fn secrets(path: &str) -> Result<String, String> {
        match path {
            "a" => Ok(format!("{}\n", "a".repeat(32))),
            "b" => Ok("b".repeat(64)),
            "short" => Ok("a_random_secret".to_owned()),
            "empty" => Ok("\n".to_owned()),
            _ => Err("is not there".to_owned()),
        }
    }

    fn problems(text: &str) -> Vec<String> {
        parse(text, secrets).map(|hooks| hooks.len()).unwrap_err()
    }

    #[test]
    fn a_hook_is_read() {
        let hooks = parse(GOOD, secrets).unwrap();
        let [hook] = &hooks[..] else { panic!("{hooks:?}") };
        assert_eq!((hook.id.as_str(), hook.forge), ("site", Forge::GitHub));
        let about = hook.about.as_ref().unwrap();
        assert_eq!((about.repository.as_str(), about.branch.as_str()), ("ines/vigie", "main"));
        assert_eq!((&about.events[..], &hook.networks), (&[Event::Push][..], &None));
        let more = format!(
            "{GOOD}\nevents = [\"push\", \"release\"]\nnetworks = [\"192.0.2.0/24\", \"2001:db8::1\"]\n\
             [other]\nforge = \"gitlab\"\nrepository = \"a/b/c\"\nbranch = \"release/1.x\"\nsecret_file = \"b\"\n"
        );
        let hooks = parse(&more, secrets).unwrap();
        assert_eq!(hooks.len(), 2);
        let site = hooks.iter().find(|hook| hook.id == "site").unwrap();
        assert!(site.networks.as_ref().unwrap().contains("192.0.2.9".parse().unwrap()));
        assert!(!format!("{hooks:?}").contains("aaaa"));
    }

    #[test]
    fn a_ci_has_a_secret_and_nothing_to_compare() {
        let hooks = parse("[ci]\nforge = \"ci\"\nsecret_file = \"a\"", secrets).unwrap();
        assert_eq!(hooks[0].about, None);
        let found = problems("[ci]\nforge = \"ci\"\nsecret_file = \"a\"\nbranch = \"main\"");
        assert_eq!(found, ["[ci] branch: is unknown; of a ci expected forge, secret_file or networks"]);
    }

    #[test]
    fn every_fault_is_named_at_once_and_no_secret_shown() {
        let text = r#"
            [Site]
            forge = "bitbucket"
            repository = "vigie"
            branch = "-main"
            secret_file = "short"
            events = ["push", "issues"]
            networks = ["192.0.2.0/33"]
            secret = "hunter2"
            [gone]
            forge = "gitea"
            repository = "../vigie"
            branch = "a/../b"
            secret_file = "nowhere"
            [none]
            secret_file = "empty"
            branch = 1
        "#;
        let found = problems(text).join("\n");
        for expected in [
            "[Site] : expected a name of 1 to 32 of a-z 0-9 -",
            "[Site] forge: expected one of github, gitea, forgejo, gitlab, gitlab-signed, ci, found \"bitbucket\"",
            "[Site] repository: expected a repository such as \"ines/vigie\", found \"vigie\"",
            "[Site] branch: expected a branch such as \"main\", found \"-main\"",
            "[Site] secret_file: short: has 15 bytes, expected at least 32: make one by openssl rand -hex 32",
            "[Site] events: expected some of",
            "[Site] networks: expected networks such as",
            "[Site] secret: is unknown; expected forge",
            "[gone] repository: expected",
            "[gone] branch: expected",
            "[gone] secret_file: nowhere: is not there",
            "[none] forge: is not set, expected one of",
            "[none] repository: is not set",
            "[none] branch: expected a branch such as \"main\", found 1",
            "[none] secret_file: empty: is empty; expected at least 32 bytes",
        ] {
            assert!(found.contains(expected), "{expected}\n---\n{found}");
        }
        assert!(!found.contains("a_random_secret") && !found.contains("hunter2"), "{found}");
    }

    #[test]
    fn no_two_hooks_share_a_secret() {
        let two = format!("{GOOD}\n{}", GOOD.replace("[site]", "[other]"));
        assert_eq!(problems(&two).len(), 1, "{:?}", problems(&two));
        assert!(problems(&two)[0].contains("expected one of its own"));
    }

    #[test]
    fn a_file_without_hooks_is_no_such_file() {
        assert!(problems("")[0].contains("has 0 hooks"));
        assert!(problems("site = 1")[0].contains("site: expected a hook"));
        assert!(problems("[site")[0].starts_with("is no TOML"));
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("hooks.toml")).is_err());
        fs::write(folder.path().join("hooks.toml"), GOOD).unwrap();
        fs::write(folder.path().join("a"), "a".repeat(32)).unwrap();
        assert_eq!(read(&folder.path().join("hooks.toml")).unwrap().len(), 1);
    }
}
