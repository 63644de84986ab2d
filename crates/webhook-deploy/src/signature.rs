//! Who may have sent a delivery: the forges' ways to prove it, checked over the raw body before anything is read
//! from it.
//!
//! | forge | proof | by |
//! |---|---|---|
//! | GitHub | `X-Hub-Signature-256: sha256=<hex>` | HMAC-SHA256 of the body |
//! | Gitea | `X-Gitea-Signature: <hex>` | the same |
//! | Forgejo | `X-Forgejo-Signature: <hex>` | the same |
//! | GitLab | `X-Gitlab-Token` | the secret itself |
//! | a CI, by `deploy/ci/deploy.sh` | as GitHub | the same |
//! | GitLab with a signing token | `webhook-signature: v1,<base64>` | HMAC-SHA256 of `id.timestamp.body` (Standard Webhooks) |
//!
//! Which of them holds is said by the configuration of the hook, never by the request.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hyper::HeaderMap;
use ring::{digest, hmac};

use crate::seen::Mark;

/// The shortest secret, in bytes: as long as the digest.
pub const SECRET_MIN: usize = 32;
/// How far the time of a signature may be from ours (the Standard Webhooks specification), in seconds.
const TOLERANCE_S: u64 = 5 * 60;
/// Signatures that are tried of those in one header: while a forge changes its key there are two.
const SIGNATURES_MAX: usize = 4;
/// The longest id of a delivery, in bytes. Forges send UUIDs.
const ID_MAX: usize = 128;
/// How a signing token of GitLab begins; base64 of the key follows.
const SIGNING_TOKEN: &str = "whsec_";

/// Which program sends deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// github.com, GitHub Enterprise.
    GitHub,
    /// Gitea.
    Gitea,
    /// Forgejo, Codeberg.
    Forgejo,
    /// GitLab with a secret token.
    GitLab,
    /// GitLab with a signing token.
    GitLabSigned,
    /// `deploy/ci/deploy.sh`, wherever it runs.
    Ci,
}

/// What a forge proves itself with; never shown.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
    /// The key's own tag of what GitLab sends as it is.
    token: hmac::Tag,
}

/// A delivery whose proof holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What the forge calls it; of GitHub, Gitea and Forgejo no proof covers it.
    pub id: String,
    /// What it is known by. Where the body is signed, that is the signature: an id could be changed by whoever has
    /// caught a delivery.
    pub mark: Mark,
}

/// Why a delivery is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It has no proof, or no id.
    Unsigned,
    /// Its proof does not hold.
    Forged,
    /// It holds, for another time.
    Stale,
}

impl Forge {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::GitHub, Self::Gitea, Self::Forgejo, Self::GitLab, Self::GitLabSigned, Self::Ci];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::GitLab => "gitlab",
            Self::GitLabSigned => "gitlab-signed",
            Self::Ci => "ci",
        }
    }

    /// The header that says what happened. A CI tells of releases only.
    #[must_use]
    pub const fn event_header(self) -> Option<&'static str> {
        match self {
            Self::GitHub => Some("x-github-event"),
            Self::Gitea => Some("x-gitea-event"),
            Self::Forgejo => Some("x-forgejo-event"),
            Self::GitLab | Self::GitLabSigned => Some("x-gitlab-event"),
            Self::Ci => None,
        }
    }

    const fn proof_header(self) -> &'static str {
        match self {
            Self::GitHub | Self::Ci => "x-hub-signature-256",
            Self::Gitea => "x-gitea-signature",
            Self::Forgejo => "x-forgejo-signature",
            Self::GitLab => "x-gitlab-token",
            Self::GitLabSigned => "webhook-signature",
        }
    }

    /// Where the id is; in the first that is there. Older GitLabs have the second only.
    const fn id_headers(self) -> &'static [&'static str] {
        match self {
            Self::GitHub | Self::Ci => &["x-github-delivery"],
            Self::Gitea => &["x-gitea-delivery"],
            Self::Forgejo => &["x-forgejo-delivery"],
            Self::GitLab => &["idempotency-key", "x-gitlab-event-uuid"],
            Self::GitLabSigned => &["webhook-id"],
        }
    }

    /// Checks the proof of a delivery. `now_s` is the time, in seconds since 1970.
    ///
    /// # Errors
    /// [`Doubt`] when it is not to be believed.
    pub fn verify(
        self,
        secret: &Secret,
        headers: &HeaderMap,
        body: &[u8],
        now_s: u64,
    ) -> Result<Verified, Doubt> {
        let proof = one(headers, self.proof_header())?;
        let id =
            self.id_headers().iter().map(|name| one(headers, name)).find(|id| *id != Err(Doubt::Unsigned));
        let id = id.unwrap_or(Err(Doubt::Unsigned))?;
        if !is_id(id) {
            return Err(Doubt::Forged);
        }
        let mark = match self {
            Self::GitHub | Self::Ci => {
                secret.signed(body, proof.strip_prefix("sha256=").and_then(tag_of_hex))
            }
            Self::Gitea | Self::Forgejo => secret.signed(body, tag_of_hex(proof)),
            Self::GitLab => secret.told(proof).map(|()| mark_of(id)),
            Self::GitLabSigned => {
                let time = one(headers, "webhook-timestamp")?;
                let time_s = seconds(time).ok_or(Doubt::Forged)?;
                let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
                let tags = proof.split(' ').filter_map(tag_of_v1).take(SIGNATURES_MAX);
                // The first that holds, else the last that does not.
                let held = tags.map(|tag| secret.signed(&signed, Some(tag))).find(Result::is_ok);
                let held = held.unwrap_or(Err(Doubt::Forged)).map(|_| mark_of(id));
                if held.is_ok() && time_s.abs_diff(now_s) > TOLERANCE_S { Err(Doubt::Stale) } else { held }
            }
        };
        Ok(Verified { id: id.to_owned(), mark: mark? })
    }
}

impl Secret {
    /// Reads what the forge was told, or what it told.
    ///
    /// # Errors
    /// What was expected; never what was found.
    pub fn new(forge: Forge, text: &str) -> Result<Self, String> {
        let bytes = match forge {
            Forge::GitLabSigned => {
                let key = text.strip_prefix(SIGNING_TOKEN).and_then(|key| BASE64.decode(key).ok());
                key.ok_or(format!(
                    "expected a signing token: {SIGNING_TOKEN} and base64, as GitLab shows it"
                ))?
            }
            _ => text.as_bytes().to_owned(),
        };
        match bytes.len() {
            0 => Err(format!("is empty; expected at least {SECRET_MIN} bytes")),
            length if length < SECRET_MIN => Err(format!(
                "has {length} bytes, expected at least {SECRET_MIN}: make one by openssl rand -hex 32"
            )),
            _ => Ok(Self::of(&bytes)),
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let token = hmac::sign(&key, bytes);
        Self { key, token }
    }

    /// Whether two are the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.token.as_ref() == other.token.as_ref()
    }

    /// ring compares in constant time.
    fn signed(&self, signed: &[u8], tag: Option<Mark>) -> Result<Mark, Doubt> {
        let tag = tag.ok_or(Doubt::Forged)?;
        hmac::verify(&self.key, signed, &tag).map(|()| tag).map_err(|_| Doubt::Forged)
    }

    /// Whether the token is the secret: by its tag, which is compared in constant time whatever the two lengths.
    fn told(&self, token: &str) -> Result<(), Doubt> {
        hmac::verify(&self.key, token.as_bytes(), self.token.as_ref()).map_err(|_| Doubt::Forged)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of a header that is there once.
pub fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Doubt> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Doubt::Unsigned)?;
    // Of two, another program on the way may have taken the other one.
    if values.next().is_some() {
        return Err(Doubt::Forged);
    }
    value.to_str().map_err(|_| Doubt::Forged)
}

/// No dot: it parts what is signed.
fn is_id(id: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=ID_MAX).contains(&id.len()) && id.bytes().all(fine)
}

fn mark_of(id: &str) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(digest::digest(&digest::SHA256, id.as_bytes()).as_ref());
    mark
}

/// Digits only: `u64` would also read a sign.
fn seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn tag_of_v1(text: &str) -> Option<Mark> {
    BASE64.decode(text.strip_prefix("v1,")?).ok()?.try_into().ok()
}

fn tag_of_hex(text: &str) -> Option<Mark> {
    let digits = text.as_bytes();
    let mut tag = Mark::default();
    if digits.len() != 2 * tag.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(tag)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
