//! What restic says when it fails: what it means, and what to do, in words for people.

use std::io;

use child::ChildError;

/// What it says first when the password comes by its standard input.
pub const GREETING: &str = "reading repository password from stdin";
/// The exit code of `restic backup` when some files could not be read.
const SOME_NOT_READ: i32 = 3;
/// What it says, in lower case, when ssh or rclone did not get there, or ended; what those say is not always heard.
const NO_SSH: [&str; 2] = ["unable to start the sftp session", "ssh command exited"];
const NO_RCLONE: &str = "error talking http to rclone";
/// What stores say to whom they do not let in.
const REFUSALS: [&str; 6] = [
    "401 unauthorized",
    "403 forbidden",
    "access denied",
    "accessdenied",
    "access key id you provided does not exist",
    "signature we calculated does not match",
];
/// What stores say when there is nothing by the name. Only then may a repository be made there.
const NOTHING_THERE: [&str; 5] = ["no such file", "does not exist", "doesn't exist", "not found", "nosuch"];
/// What the network says when nobody is there.
const SILENCES: [&str; 14] = [
    "connection refused",
    "connection reset",
    "connection lost",
    "no such host",
    "no route to host",
    "network is unreachable",
    "timeout",
    "broken pipe",
    "server closed idle connection",
    "connection closed by foreign host",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout",
];

/// What is said where nothing more fits.
const NO_ROOM: [&str; 4] = ["no space left", "quota exceeded", "insufficient storage", "quotaexceeded"];

/// Why the repository did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ResticError {
    /// The password is another one.
    #[error("the repository has another password: BACKUP_PASSWORD must be the one it was made with")]
    WrongKey,
    /// There is no repository.
    #[error("there is no repository at BACKUP_REPOSITORY")]
    NoRepository,
    /// There is another one, or none where there was one.
    #[error("{0}")]
    Replaced(String),
    /// ssh ended before it began.
    #[error(
        "ssh does not get to BACKUP_REPOSITORY: expected its machine to be there, that machine's key in known_hosts, and \
         a key without a passphrase that it lets in: {0}"
    )]
    Ssh(String),
    /// rclone ended before it began.
    #[error(
        "rclone does not get to BACKUP_REPOSITORY: expected its machine to be there, and the RCLONE_… settings to be \
         right, with the password as `rclone obscure` writes it: {0}"
    )]
    Rclone(String),
    /// Who is there lets us not in.
    #[error(
        "BACKUP_REPOSITORY is there and does not let the backup in: expected the name and password in the address, or \
         the credentials of the store, to be right, and to be allowed to write there: {0}"
    )]
    Refused(String),
    /// Nobody is there, or somebody who has troubles.
    #[error(
        "BACKUP_REPOSITORY does not answer, or not as it should: expected it and the way to it to work: {0}"
    )]
    Away(String),
    /// Nothing more fits.
    #[error("there is no room left, at BACKUP_REPOSITORY or in BACKUP_DATA: {0}")]
    Full(String),
    /// Somebody else has locked it.
    #[error("somebody else works on the repository: {0}")]
    Locked(String),
    /// Files could not be read.
    #[error("some files could not be read, so this is no backup: {0}")]
    Incomplete(String),
    /// What it said could not be understood.
    #[error("restic said something else than expected: {0}")]
    Said(String),
    /// The program.
    #[error(transparent)]
    Child(ChildError),
    /// Our own files.
    #[error("restic has no place to work")]
    Files(#[from] io::Error),
}

impl From<ChildError> for ResticError {
    fn from(error: ChildError) -> Self {
        let ChildError::Failed { shown, status, complaint } = error else { return Self::Child(error) };
        let words = without_passwords(complaint.replace(GREETING, "").trim_start_matches("; "));
        let said = words.to_lowercase();
        let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
        let opening = has(&["unable to open config file", "repository does not exist"]);
        if has(&["wrong password or no key found"]) {
            Self::WrongKey
        } else if has(&["already locked"]) {
            Self::Locked(words)
        } else if status.code() == Some(SOME_NOT_READ) {
            Self::Incomplete(words)
        } else if has(&NO_ROOM) {
            Self::Full(words)
        } else if has(&NO_SSH) {
            Self::Ssh(words)
        } else if has(&[NO_RCLONE]) {
            Self::Rclone(words)
        } else if has(&REFUSALS) {
            Self::Refused(words)
        } else if opening && has(&NOTHING_THERE) {
            Self::NoRepository
        } else if has(&SILENCES) || (has(&["http"]) && has(&[": eof"])) {
            Self::Away(words)
        } else {
            Self::Child(ChildError::Failed { shown, status, complaint: words })
        }
    }
}

/// The same, with `***` for the password in every address.
fn without_passwords(words: &str) -> String {
    let mut parts = words.split("://");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '"', ' ']).unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        plain += "://";
        match authority.rsplit_once('@').map(|(person, host)| (person.split_once(':'), host)) {
            Some((Some((name, _)), host)) => plain += &format!("{name}:***@{host}{rest}"),
            _ => plain += part,
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::*;

    #[test]
    fn no_password_of_an_address_is_told_on() {
        for (words, expected) in [
            ("parse \"http://me:hunter2@host/x\": bad", "parse \"http://me:***@host/x\": bad"),
            (
                "at s3:https://key:hunt@er2@host; rest:https://me:***@h",
                "at s3:https://key:***@host; rest:https://me:***@h",
            ),
            ("sftp://me@host:2222//backups failed", "sftp://me@host:2222//backups failed"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_passwords(words), expected);
        }
    }

    #[test]
    fn a_repository_is_missed_only_where_something_says_that_it_is_not_there() {
        let of = |words: &str| {
            let (shown, complaint) = ("restic cat config".to_owned(), words.to_owned());
            ResticError::from(ChildError::Failed { shown, status: ExitStatus::from_raw(256), complaint })
        };
        for words in [
            "Fatal: unable to open config file: stat /mnt/usb/vigie/config: no such file or directory",
            "Fatal: unable to open config file: Lstat: file does not exist",
            "Fatal: unable to open config file: <config/> does not exist; Is there a repository at …",
            "Fatal: unable to open config file: Stat: The specified key does not exist.",
            "Fatal: repository does not exist: unable to open config file: Stat: The specified bucket does not exist",
        ] {
            assert!(matches!(of(words), ResticError::NoRepository), "{words}");
        }
        for words in [
            "Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized",
            "Fatal: unable to open config file: Stat: The AWS Access Key Id you provided does not exist in our records.",
            "Fatal: unable to open config file: Stat: Access Denied.",
        ] {
            assert!(matches!(of(words), ResticError::Refused(_)), "{words}");
        }
        for words in [
            "Fatal: unable to open config file: client.Head: dial tcp [::1]:8000: connect: connection refused",
            "Fatal: unable to open config file: client.Head: Head …: http: server closed idle connection",
            "Fatal: unable to open config file: Stat: Get …: Connection closed by foreign host …. Retry again.",
        ] {
            assert!(matches!(of(words), ResticError::Away(_)), "{words}");
        }
        let ssh = of("Fatal: unable to save snapshot: ssh command exited: exit status 255");
        assert!(matches!(ssh, ResticError::Ssh(_)), "{ssh}");
        let other = of("Fatal: unable to open config file: stat /mnt/usb/vigie/config: input/output error");
        assert!(matches!(other, ResticError::Child(_)), "{other}");
    }
}
