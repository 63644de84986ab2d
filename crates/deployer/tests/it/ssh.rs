//! A private repository by ssh, from a real sshd: whom the deployer believes, and who believes it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use testkit::{eventually, free_port};

use crate::{
    build::{config_of, version},
    remote::Remote,
    world::{SOON, World},
};

const SSHD: &str = "/usr/sbin/sshd";

/// The server, with keys of its own.
struct Sshd {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// `None`, said aloud, where it is not installed.
    async fn start(folder: &Path) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            testkit::skipped(&format!("{SSHD} is not here"));
            return None;
        }
        // The package's own start makes it; without it the server refuses to run as root.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (folder, port) = (folder.join("ssh"), free_port());
        fs::create_dir_all(&folder).unwrap();
        for name in ["host", "other-host", "user", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
            assert!(keygen.stdin(Stdio::null()).status().unwrap().success());
        }
        let settings = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n",
            folder.display()
        );
        fs::write(folder.join("sshd_config"), settings).unwrap();
        let mut sshd = Command::new(SSHD);
        sshd.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
        sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
        let sshd = Self { child: sshd.spawn().unwrap(), folder, port };
        eventually(SOON, || async {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", sshd.port)).await;
            connected.map(drop).map_err(|_| fs::read_to_string(sshd.folder.join("log")))
        })
        .await;
        Some(sshd)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Says that the server has this key.
    fn known_hosts(&self, key: &str) -> (&'static str, String) {
        let public = fs::read_to_string(self.folder.join(format!("{key}.pub"))).unwrap();
        let name = format!("known-{key}");
        fs::write(self.folder.join(&name), format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
        ("DEPLOY_GIT_KNOWN_HOSTS", self.path(&name))
    }

    fn url(&self, remote: &Remote) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("ssh://{}@127.0.0.1:{}{}/.git", user.trim(), self.port, remote.folder().display())
    }
}

#[tokio::test]
async fn a_repository_is_fetched_by_ssh_from_who_is_known_and_by_who_is_known() {
    let world = World::start().await;
    let Some(sshd) = Sshd::start(world.folder.path()).await else { return };
    let remote = Remote::start(world.folder.path(), None).await;
    let first = version(&remote, 1);
    let url = sshd.url(&remote);
    let key = |name: &str| ("DEPLOY_GIT_SSH_KEY", sshd.path(name));
    let refused = [
        // Somebody else answers under its address.
        (vec![key("user"), sshd.known_hosts("other-host")], "Host key verification failed"),
        // Nobody said which key it has: the first that answers is not believed.
        (vec![key("user")], "Host key verification failed"),
        // The server does not know us.
        (vec![key("stranger"), sshd.known_hosts("host")], "Permission denied"),
    ];
    for (settings, words) in refused {
        let running = world.run(config_of(&world, &url, settings));
        let end = world.deploy().await;
        assert!(!end.good && end.words.contains(words), "{words}: {}", end.words);
        drop(running);
    }
    world.runs(0);
    let _running = world.run(config_of(&world, &url, [key("user"), sshd.known_hosts("host")]));
    let end = world.deploy().await;
    assert_eq!(end.words, format!("updated to c-{0} ({0})", &first[..12]));
    world.runs(1);
    // What is fetched the next time is fetched by what is there.
    let second = version(&remote, 2);
    assert!(world.deploy().await.words.contains(&second[..12]));
    world.runs(2);
}
