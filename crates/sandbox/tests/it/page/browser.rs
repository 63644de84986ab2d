//! Headless Chromium, driven over the DevTools protocol.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const HAPPENS_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// One page in a browser of its own.
pub struct Page {
    browser: Child,
    devtools: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    /// What the page complained about: exceptions, console errors, blocked loads.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|file| file.is_file()))
}

impl Page {
    /// Opens a page, or says that this machine has no browser.
    #[allow(clippy::print_stdout, reason = "whoever runs the tests must see that something was skipped")]
    pub async fn open(url: &str) -> Option<Self> {
        let Some(program) = find() else {
            println!("skipped: no chromium found (looked in PATH for {})", NAMES.join(", "));
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = tokio::time::timeout(STARTS_WITHIN, devtools_address(&mut browser)).await;
        let address = address.expect("chromium starts in time");
        let (devtools, _) = tokio_tungstenite::connect_async(&address).await.unwrap();
        let mut page =
            Self { browser, devtools, session: None, last_id: 0, complaints: Vec::new(), _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attach).await;
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, json!({})).await;
        }
        page.look("light", 1280, 800, false).await;
        page.go(url).await;
        Some(page)
    }

    /// Loads a page and waits until it has shown its state.
    pub async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.until("document.body?.dataset.ready === 'true'").await;
    }

    /// Chooses colour scheme and size of the window.
    pub async fn look(&mut self, scheme: &str, width: u32, height: u32, mobile: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" } ] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Calls a method of the protocol and returns its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.devtools.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let frame = tokio::time::timeout(HAPPENS_WITHIN, self.devtools.next()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{method} was not answered")).unwrap().unwrap();
            let Message::Text(text) = frame else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let complains = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                matches!(params["type"].as_str(), Some("error" | "warning" | "assert"))
            }
            Some("Log.entryAdded") => {
                matches!(params["entry"]["level"].as_str(), Some("error" | "warning"))
            }
            _ => false,
        };
        if complains {
            self.complaints.push(params.to_string());
        }
    }

    /// The value of an expression.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", params).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + HAPPENS_WITHIN;
        let mut look = tokio::time::interval(LOOK_EVERY);
        while self.eval(&format!("Boolean({expression})")).await != Value::Bool(true) {
            if Instant::now() > deadline {
                let text = self.eval("document.body?.innerText").await;
                panic!("never true: {expression}\ncomplaints: {:?}\n{text}", self.complaints);
            }
            look.tick().await;
        }
    }

    /// Types into what has the focus, as a keyboard does.
    pub async fn write(&mut self, text: &str) {
        for letter in text.chars() {
            let letter = letter.to_string();
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "text": letter, "key": letter }))
                .await;
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": letter })).await;
        }
    }

    /// Presses a named key, such as `Enter`, `Tab` or `ArrowDown`.
    pub async fn key(&mut self, name: &str) {
        let code = match name {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            other => panic!("no such key: {other}"),
        };
        let mut down = json!({ "type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code });
        if name == "Enter" {
            down["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", down).await;
        let up = json!({ "type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", up).await;
    }

    /// Saves a picture where `VIGIE_SCREENSHOTS` says, if it does.
    pub async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("VIGIE_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            shot["data"].as_str().unwrap(),
        );
        std::fs::write(PathBuf::from(folder).join(name), bytes.unwrap()).unwrap();
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        self.session = None;
        self.call("Browser.close", json!({})).await;
        if tokio::time::timeout(HAPPENS_WITHIN, self.browser.wait()).await.is_err() {
            self.browser.kill().await.unwrap();
        }
    }
}

/// Reads the address that Chromium prints, and goes on reading so that it never blocks on the pipe.
async fn devtools_address(browser: &mut Child) -> String {
    let mut lines = BufReader::new(browser.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(address) = line.strip_prefix("DevTools listening on ") {
            let address = address.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
        said.push(line);
    }
    panic!("chromium ended: {said:?}");
}
