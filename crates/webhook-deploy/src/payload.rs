//! What a delivery means, once its proof holds. Nothing of it is obeyed: the repository and the ref are compared
//! with the configuration, and of the rest only a commit is kept, for people to see.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    hooks::{About, Hook},
    signature::Forge,
};

/// What may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Commits were pushed to the branch.
    Push,
    /// A release was published.
    Release,
}

/// What a delivery means for its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The forge tries whether anybody is there.
    Ping,
    /// There may be something new.
    News {
        /// What happened.
        event: Event,
        /// The newest commit, in hex, where the forge says it.
        commit: Option<String>,
    },
    /// Nothing that is waited for.
    Ignored,
    /// Something about another repository.
    OtherRepository,
    /// It cannot be read.
    Malformed,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
    /// GitLab's name for it.
    #[serde(borrow)]
    project: Option<Repository<'a>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Option<Cow<'a, str>>,
    /// GitLab's name for it.
    #[serde(borrow)]
    path_with_namespace: Option<Cow<'a, str>>,
}

/// What `deploy/ci/deploy.sh` sends: the text of its `release.json`. The deployer reads its own.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    release: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Release<'a> {
    #[serde(borrow)]
    commit: Option<Cow<'a, str>>,
}

impl Event {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Push, Self::Release];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Release => "release",
        }
    }
}

impl Meaning {
    /// Reads a delivery. `event` is what its header says, which no proof covers.
    #[must_use]
    pub fn of(hook: &Hook, event: &str, body: &[u8]) -> Self {
        let Some(about) = &hook.about else { return Self::of_ci(body) };
        let event = match (hook.forge, event) {
            (Forge::GitHub, "ping") => return Self::Ping,
            (Forge::GitHub | Forge::Gitea | Forge::Forgejo, "push")
            | (Forge::GitLab | Forge::GitLabSigned, "Push Hook") => Event::Push,
            (Forge::GitHub | Forge::Gitea | Forge::Forgejo, "release")
            | (Forge::GitLab | Forge::GitLabSigned, "Release Hook") => Event::Release,
            _ => return Self::Ignored,
        };
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(body) else { return Self::Malformed };
        match payload.repository_of(hook.forge) {
            None => Self::Malformed,
            Some(name) if !name.eq_ignore_ascii_case(&about.repository) => Self::OtherRepository,
            Some(_) if !about.events.contains(&event) => Self::Ignored,
            Some(_) => payload.news(event, about),
        }
    }

    fn of_ci(body: &[u8]) -> Self {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(body) else { return Self::Malformed };
        let Ok(release) = serde_json::from_str::<Release<'_>>(&told.release) else { return Self::Malformed };
        let commit = release.commit.filter(|commit| is_commit(commit));
        Self::News { event: Event::Release, commit: commit.map(|commit| commit.to_ascii_lowercase()) }
    }
}

impl Payload<'_> {
    fn repository_of(&self, forge: Forge) -> Option<&str> {
        match forge {
            Forge::GitHub | Forge::Gitea | Forge::Forgejo => self.repository.as_ref()?.full_name.as_deref(),
            Forge::GitLab | Forge::GitLabSigned => self.project.as_ref()?.path_with_namespace.as_deref(),
            Forge::Ci => None,
        }
    }

    fn news(&self, event: Event, about: &About) -> Meaning {
        match event {
            Event::Push => self.push(&about.branch),
            Event::Release => self.release(),
        }
    }

    fn push(&self, branch: &str) -> Meaning {
        let Some(reference) = &self.reference else { return Meaning::Malformed };
        if reference.strip_prefix("refs/heads/") != Some(branch) {
            return Meaning::Ignored;
        }
        match self.after.as_deref() {
            Some(after) if !is_commit(after) => Meaning::Malformed,
            None => Meaning::Malformed,
            // The branch was removed.
            Some(after) if after.bytes().all(|digit| digit == b'0') => Meaning::Ignored,
            Some(after) => Meaning::News { event: Event::Push, commit: Some(after.to_ascii_lowercase()) },
        }
    }

    /// GitLab calls it `create`, the others `published`.
    fn release(&self) -> Meaning {
        match self.action.as_deref() {
            Some("published" | "create") => Meaning::News { event: Event::Release, commit: None },
            Some(_) => Meaning::Ignored,
            None => Meaning::Malformed,
        }
    }
}

/// SHA-1 or SHA-256, in hex.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::signature::Secret;

    const COMMIT: &str = "bffeb74224043ba2feb48d137756c8a9331c449a";

    fn about(event: Event) -> About {
        About { repository: "Ines/Vigie".to_owned(), branch: "main".to_owned(), events: vec![event] }
    }

    fn hook(forge: Forge) -> Hook {
        Hook {
            id: "site".to_owned(),
            forge,
            secret: Secret::new(Forge::GitHub, &"s".repeat(32)).unwrap(),
            about: (forge != Forge::Ci).then(|| about(Event::Push)),
            networks: None,
        }
    }

    fn push(reference: &str, after: &str, repository: &str) -> Vec<u8> {
        let body =
            json!({"ref": reference, "after": after, "repository": {"full_name": repository, "x": [1]}});
        body.to_string().into_bytes()
    }

    fn meaning(event: &str, body: &[u8]) -> Meaning {
        Meaning::of(&hook(Forge::GitHub), event, body)
    }

    #[test]
    fn a_push_to_the_branch_is_news() {
        let news = Meaning::News { event: Event::Push, commit: Some(COMMIT.to_owned()) };
        assert_eq!(meaning("push", &push("refs/heads/main", COMMIT, "ines/vigie")), news);
        let body = json!({"ref": "refs/heads/main", "after": COMMIT, "project": {"path_with_namespace": "ines/vigie"}});
        let body = body.to_string().into_bytes();
        assert_eq!(Meaning::of(&hook(Forge::GitLab), "Push Hook", &body), news);
        assert_eq!(meaning("push", &body), Meaning::Malformed, "GitHub has no project");
    }

    #[test]
    fn what_is_not_waited_for_is_ignored() {
        for reference in [
            "refs/tags/main",
            "refs/heads/main2",
            "refs/heads/other",
            "refs/heads/refs/heads/main",
            "main",
            "",
            "refs/heads/main/../../x",
            "refs/heads/main\n",
            "refs/heads/main;reboot",
            "--upload-pack=reboot",
        ] {
            let body = push(reference, COMMIT, "ines/vigie");
            assert_eq!(meaning("push", &body), Meaning::Ignored, "{reference:?}");
        }
        let gone = push("refs/heads/main", &"0".repeat(40), "ines/vigie");
        assert_eq!(meaning("push", &gone), Meaning::Ignored);
        assert_eq!(meaning("issues", b"{}"), Meaning::Ignored);
        assert_eq!(meaning("", b"{}"), Meaning::Ignored);
        assert_eq!(meaning("ping", b"not even JSON"), Meaning::Ping);
        assert_eq!(Meaning::of(&hook(Forge::Gitea), "ping", b""), Meaning::Ignored);
    }

    #[test]
    fn another_repository_is_refused_whatever_happened_there() {
        for name in ["mallory/vigie", "ines/vigie2", "ines/vigie/..", "ines%2Fvigie", ""] {
            let body = push("refs/heads/main", COMMIT, name);
            assert_eq!(meaning("push", &body), Meaning::OtherRepository, "{name:?}");
            assert_eq!(meaning("release", &body), Meaning::OtherRepository, "{name:?}");
        }
        // The first or the last, whichever another program would take: neither.
        let twice =
            br#"{"repository":{"full_name":"mallory/vigie"},"repository":{"full_name":"ines/vigie"}}"#;
        assert_eq!(meaning("push", twice), Meaning::Malformed);
    }

    #[test]
    fn a_commit_is_hex_and_nothing_else() {
        for after in
            ["", "HEAD", "main", "bffeb742", "$(reboot)", "-bffeb74224043ba2feb48d137756c8a9331c449", "é"]
        {
            let body = push("refs/heads/main", after, "ines/vigie");
            assert_eq!(meaning("push", &body), Meaning::Malformed, "{after:?}");
        }
        for commit in [COMMIT.to_owned(), "a".repeat(64)] {
            let body = push("refs/heads/main", &commit, "ines/vigie");
            assert_eq!(meaning("push", &body), Meaning::News { event: Event::Push, commit: Some(commit) });
        }
    }

    #[test]
    fn a_release_counts_where_it_is_waited_for() {
        let body = br#"{"action":"published","repository":{"full_name":"ines/vigie"}}"#;
        assert_eq!(meaning("release", body), Meaning::Ignored);
        let mut hook = hook(Forge::GitHub);
        hook.about = Some(about(Event::Release));
        let release = |body: &[u8]| Meaning::of(&hook, "release", body);
        assert_eq!(release(body), Meaning::News { event: Event::Release, commit: None });
        assert_eq!(
            release(br#"{"action":"edited","repository":{"full_name":"ines/vigie"}}"#),
            Meaning::Ignored
        );
        let push = push("refs/heads/main", COMMIT, "ines/vigie");
        assert_eq!(Meaning::of(&hook, "push", &push), Meaning::Ignored);
        assert_eq!(release(&push), Meaning::Malformed, "the header lies");
    }

    #[test]
    fn a_ci_tells_of_a_release_and_of_its_commit() {
        let release = |commit: &str| {
            let release =
                json!({"image": "x", "version": "1", "commit": commit, "digest": "sha256:0"}).to_string();
            let body = json!({"release": release, "signature": null}).to_string();
            Meaning::of(&hook(Forge::Ci), "", body.as_bytes())
        };
        let news =
            |commit: Option<&str>| Meaning::News { event: Event::Release, commit: commit.map(str::to_owned) };
        assert_eq!(release(COMMIT), news(Some(COMMIT)));
        assert_eq!(release("$(reboot)"), news(None));
        for body in ["{}", "[]", r#"{"release":{}}"#, r#"{"release":"x"}"#] {
            assert_eq!(Meaning::of(&hook(Forge::Ci), "", body.as_bytes()), Meaning::Malformed, "{body}");
        }
    }

    #[test]
    fn what_is_nested_without_end_ends_nothing() {
        let deep = "[".repeat(100_000);
        assert_eq!(meaning("push", deep.as_bytes()), Meaning::Malformed);
        let deep = format!(r#"{{"x":{deep}"#);
        assert_eq!(meaning("push", deep.as_bytes()), Meaning::Malformed);
    }

    proptest! {
        #[test]
        fn nothing_but_the_branch_of_the_repository_is_news(
            event in "(push|release|ping|[a-z_ ]{0,12})",
            reference in "(refs/heads/main|[ -~]{0,40})",
            after in "([0-9a-f]{40}|[ -~]{0,40})",
            repository in "(ines/vigie|[ -~]{0,30})",
        ) {
            let body = push(&reference, &after, &repository);
            if let Meaning::News { commit, .. } = meaning(&event, &body) {
                prop_assert_eq!((event.as_str(), reference.as_str()), ("push", "refs/heads/main"));
                prop_assert!(repository.eq_ignore_ascii_case("ines/vigie"));
                prop_assert!(commit.is_some_and(|commit| is_commit(&commit)));
            }
        }

        #[test]
        fn whatever_comes_is_read_to_its_end(event in "[ -~]{0,20}", body in prop::collection::vec(any::<u8>(), 0..400)) {
            for forge in Forge::ALL {
                let _ = Meaning::of(&hook(forge), &event, &body);
            }
        }
    }
}
