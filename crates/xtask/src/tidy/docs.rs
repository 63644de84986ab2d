//! Documents: links lead somewhere, and a translation has the parts of its original.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
};

use super::Text;

/// Where translations are.
const TRANSLATED: &str = "docs/fr/";
/// Each translation with its original.
const TRANSLATIONS: [(&str, &str); 9] = [
    ("docs/fr/premiers-pas.md", "docs/getting-started.md"),
    ("docs/fr/ajouter-une-commande.md", "docs/adding-a-command.md"),
    ("docs/fr/raspberry-pi.md", "docs/raspberry-pi.md"),
    ("docs/fr/compose.md", "docs/compose.md"),
    ("docs/fr/surveillance.md", "docs/health.md"),
    ("docs/fr/observability.md", "docs/observability.md"),
    ("docs/fr/sauvegarde.md", "docs/backup.md"),
    ("docs/fr/webhook.md", "docs/webhook.md"),
    ("docs/fr/deploiement.md", "docs/deploy.md"),
];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let documents: Vec<&Text> = files.iter().filter(|file| file.path.ends_with(".md")).collect();
    let paths: HashSet<PathBuf> =
        files.iter().flat_map(|file| Path::new(&file.path).ancestors().map(Path::to_path_buf)).collect();
    let anchors: HashMap<&str, HashSet<String>> = documents
        .iter()
        .map(|file| (file.path.as_str(), headings(&file.text).map(|heading| slug(heading.text)).collect()))
        .collect();
    let mut problems = Vec::new();
    for document in &documents {
        problems.extend(links(document).filter_map(|link| leads_nowhere(document, &link, &paths, &anchors)));
        problems.extend(differs_from_original(document, &documents));
    }
    problems
}

/// A heading of a document.
struct Heading<'a> {
    level: usize,
    text: &'a str,
}

/// The lines of a document that are not in a fenced block, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((number + 1, line))
    })
}

fn headings(text: &str) -> impl Iterator<Item = Heading<'_>> {
    prose(text).filter_map(|(_, line)| {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let text = line.get(level..)?.strip_prefix(' ')?;
        (1..=6).contains(&level).then_some(Heading { level, text: text.trim() })
    })
}

/// The anchor that a forge gives a heading.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

/// A link to somewhere in the checkout.
struct Link {
    line: usize,
    target: String,
}

fn links(document: &Text) -> impl Iterator<Item = Link> {
    prose(&document.text).flat_map(|(line, text)| {
        // What stands between back-ticks is shown, not followed.
        let shown: String = text.split('`').step_by(2).collect();
        let targets: Vec<Link> = shown
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.trim().to_owned()))
            .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
            .map(|target| Link { line, target })
            .collect();
        targets
    })
}

fn leads_nowhere(
    document: &Text,
    link: &Link,
    paths: &HashSet<PathBuf>,
    anchors: &HashMap<&str, HashSet<String>>,
) -> Option<String> {
    let (file, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
    let place = format!("{}:{}", document.path, link.line);
    let target = if file.is_empty() {
        PathBuf::from(&document.path)
    } else {
        normal(&Path::new(&document.path).parent().unwrap_or(Path::new("")).join(file))
    };
    if !paths.contains(&target) {
        return Some(format!("{place}: the link to {} leads nowhere", link.target));
    }
    let known = anchors.get(target.to_str()?)?;
    (!anchor.is_empty() && !known.contains(anchor))
        .then(|| format!("{place}: {} has no heading #{anchor}", target.display()))
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// A translation follows its original heading by heading.
fn differs_from_original(document: &Text, all: &[&Text]) -> Option<String> {
    if !document.path.starts_with(TRANSLATED) {
        return None;
    }
    let Some((_, original)) = TRANSLATIONS.iter().find(|(translation, _)| *translation == document.path)
    else {
        return Some(format!("{}: xtask's tidy/docs.rs does not say what it translates", document.path));
    };
    let Some(other) = all.iter().find(|file| file.path == *original) else {
        return Some(format!("{}: its original {original} is missing", document.path));
    };
    let levels = |text: &str| headings(text).map(|heading| heading.level).collect::<Vec<_>>();
    let (here, there) = (levels(&document.text), levels(&other.text));
    (here != there).then(|| {
        let counts = format!("{} headings against {}", here.len(), there.len());
        format!("{}: other parts than {original} ({counts})", document.path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, text: &str) -> Text {
        Text { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn links_lead_somewhere() {
        let files = [
            text(
                "README.md",
                "# Hello, world\n[a](docs/a.md#a-part) [b](#hello-world) [c](docs) `[d](no)`\n",
            ),
            text("docs/a.md", "## A part\n[up](../README.md) [out](https://example.org/x)\n"),
        ];
        assert_eq!(check(&files), Vec::<String>::new());
        let broken = [text("README.md", "# A\n[a](no.md)\n\n[b](#b)\n```\n[c](no.md)\n```\n")];
        assert_eq!(
            check(&broken),
            ["README.md:2: the link to no.md leads nowhere", "README.md:4: README.md has no heading #b"]
        );
    }

    #[test]
    fn a_translation_has_the_parts_of_its_original() {
        let (translation, original) = TRANSLATIONS[0];
        let good = [text(original, "# A\n## B\n"), text(translation, "# C\n## D\n")];
        assert_eq!(check(&good), Vec::<String>::new());
        let bad =
            [text(original, "# A\n## B\n"), text(translation, "# C\n"), text("docs/fr/perdu.md", "# A\n")];
        assert_eq!(check(&bad).len(), 2);
    }
}
