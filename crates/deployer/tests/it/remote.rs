//! A git server over HTTP: the one that comes with git, behind a small gateway.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::Response,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinHandle};

/// A repository that others push to, and its server.
pub struct Remote {
    folder: PathBuf,
    pub url: String,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Served {
    folder: PathBuf,
    /// What the request must be authorized by.
    token: Option<String>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Remote {
    pub async fn start(folder: &Path, authorization: Option<&str>) -> Self {
        let folder = folder.join("remote");
        std::fs::create_dir_all(folder.join("bot")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bot/.git", listener.local_addr().unwrap());
        let served = Served { folder: folder.clone(), token: authorization.map(str::to_owned) };
        let app = Router::new().fallback(serve).with_state(served);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let remote = Self { folder: folder.join("bot"), url, server };
        remote.git(&["init", "--quiet", "--initial-branch=main"]);
        remote
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Where it is on this machine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Commits everything; the commit.
    pub fn push(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn header(request: &Request, name: &str) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn backend(served: &Served, request: &Request) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.env("GIT_PROJECT_ROOT", &served.folder).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", request.uri().path());
    command.env("QUERY_STRING", request.uri().query().unwrap_or_default());
    command.env("CONTENT_TYPE", header(request, "content-type"));
    command.env("HTTP_CONTENT_ENCODING", header(request, "content-encoding"));
    command.env("GIT_PROTOCOL", header(request, "git-protocol"));
    command
}

async fn serve(State(served): State<Served>, request: Request) -> Response {
    if served.token.as_ref().is_some_and(|token| *token != header(&request, "authorization")) {
        return Response::builder().status(401).body("who are you?".into()).unwrap();
    }
    let mut command = backend(&served, &request);
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&body).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap().stdout;
    let split = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut answer = Response::builder();
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        answer = match name {
            "Status" => answer.status(value[..3].parse::<u16>().unwrap()),
            _ => answer.header(name, value),
        };
    }
    answer.body(output[split + 4..].to_vec().into()).unwrap()
}
