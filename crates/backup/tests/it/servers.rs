//! Real servers that backups can go to: each of a test alone, on a free port of loopback, with its files in a folder of
//! the test, and behind a proxy that can be cut.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use testkit::{Proxy, eventually, free_port};
use tokio::net::TcpStream;

use crate::{programs, world::SOON};

/// What opens the servers, and nothing that anybody else has.
pub const NAME: &str = "vigie";
pub const PASSWORD: &str = "hunter2-hunter2";
pub const WRONG: &str = "hunter3-hunter3";

/// Ended with the test.
pub struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
    /// By way of it.
    pub proxy: Proxy,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// With what it says in a file of the folder.
    async fn start(mut command: Command, port: u16, folder: &Path) -> Self {
        let log = folder.join("server.log");
        let heard = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(heard.try_clone().unwrap()).stderr(heard);
        let child = command.spawn().unwrap();
        let proxy = Proxy::start(format!("127.0.0.1:{port}")).await;
        let server = Self { child, port, log, proxy };
        eventually(SOON, || async {
            let connected = TcpStream::connect(("127.0.0.1", server.port)).await;
            connected.map(drop).map_err(|_| server.said())
        })
        .await;
        server
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn address(&self) -> String {
        self.proxy.address().to_string()
    }

    /// `rclone serve`, for who knows name and password.
    pub async fn rclone(kind: &str, folder: &Path) -> Option<Self> {
        let rclone = programs::found("rclone", &[])?;
        let port = free_port();
        fs::create_dir_all(folder.join("stored")).unwrap();
        let mut command = Command::new(rclone);
        command.args(["serve", kind, "--user", NAME, "--pass", PASSWORD]);
        command
            .args(["--addr", &format!("127.0.0.1:{port}"), "--config", "/dev/null"])
            .arg(folder.join("stored"));
        Some(Self::start(command, port, folder).await)
    }

    /// An sshd that knows the key `id_ed25519` of the folder `me/.ssh`, where it is known by its own key too.
    pub async fn sshd(folder: &Path) -> Option<Self> {
        let sshd = programs::found("sshd", &["/usr/sbin"])?;
        // The package's own start makes it; without it the server refuses to run as root.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (port, home) = (free_port(), folder.join("me/.ssh"));
        fs::create_dir_all(&home).unwrap();
        for key in [folder.join("host"), home.join("id_ed25519"), folder.join("stranger")] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key);
            assert!(keygen.stdin(Stdio::null()).status().unwrap().success());
        }
        let settings = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/me/.ssh/id_ed25519.pub\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
             Subsystem sftp internal-sftp\n",
            folder.display()
        );
        fs::write(folder.join("sshd_config"), settings).unwrap();
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
        let server = Self::start(command, port, folder).await;
        let public = fs::read_to_string(folder.join("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{} {public}", server.proxy.address().port());
        fs::write(home.join("known_hosts"), known).unwrap();
        Some(server)
    }

    /// S3, with a bucket `vigie`, and the name and the key of whom it lets in.
    pub async fn s3(folder: &Path) -> Option<(Self, String, String)> {
        // Not one of PATH: those before 5.2.5 refuse lists that are signed as restic does.
        let moto = Path::new("../../target/tools/moto_server");
        if !moto.is_file() {
            testkit::skipped("no target/tools/moto_server (of moto 5.2.5 or newer)");
            return None;
        }
        let port = free_port();
        let mut command = Command::new(moto);
        // So many requests are not asked who they are from: those that make the user.
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("INITIAL_NO_AUTH_ACTION_COUNT", "4");
        let server = Self::start(command, port, folder).await;
        let everything = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\
                          \"Resource\":\"*\"}]}";
        server.post("POST / ", "Action=CreateUser&UserName=vigie").await;
        let policy =
            format!("Action=PutUserPolicy&UserName=vigie&PolicyName=all&PolicyDocument={everything}");
        server.post("POST / ", &policy).await;
        let made = server.post("POST / ", "Action=CreateAccessKey&UserName=vigie").await;
        let field = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>")).unwrap();
            rest.split('<').next().unwrap().to_owned()
        };
        server.post("PUT /vigie ", "").await;
        Some((server, field("AccessKeyId"), field("SecretAccessKey")))
    }

    async fn post(&self, line: &str, body: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let service = if line.starts_with("PUT") { "s3" } else { "iam" };
        let request = format!(
            "{line}HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x\r\n\r\n{body}",
            self.port,
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{line}{body}: {answer}; {}", self.said());
        answer
    }
}
