//! A whole Vigie: NATS, sandbox, both gateways, workers.

use std::time::Duration;

use bus::User;
use sandbox::{Options, Sandbox, feed, people::Person};
use testkit::{Nats, eventually};

use crate::process::Process;

/// How long a person waits for an answer before a test gives up.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// How many workers.
    pub workers: usize,
    /// Settings on top of those of the sandbox, for every service.
    pub variables: Vec<(&'static str, String)>,
    /// How the platforms are.
    pub sandbox: Options,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self { workers: 1, variables: Vec::new(), sandbox: Options::default() }
    }
}

/// A running Vigie, in which NATS lets each service do what it is granted and nothing else.
#[allow(missing_debug_implementations, reason = "for tests")]
pub struct Stack {
    /// The local Discord and Twitch.
    pub sandbox: Sandbox,
    /// Its bus.
    pub nats: Nats,
    /// The Discord gateway.
    pub discord: Process,
    /// The Twitch gateway.
    pub twitch: Process,
    /// The workers.
    pub workers: Vec<Process>,
    variables: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
}

impl Stack {
    /// Starts one and waits until every part is ready.
    ///
    /// # Panics
    /// When a part does not get ready.
    pub async fn start(options: StackOptions) -> Self {
        let stack = Self::start_unready(options).await;
        stack.discord.ready().await;
        stack.twitch.ready().await;
        for worker in &stack.workers {
            worker.ready().await;
        }
        stack
    }

    /// Starts one without waiting for its services.
    ///
    /// # Panics
    /// When NATS or the sandbox cannot be started.
    pub async fn start_unready(options: StackOptions) -> Self {
        service::install_crypto();
        let nats = Nats::start_secured().await;
        nats.bus("provision").await.drain().await;
        let sandbox = Sandbox::start(options.sandbox).await.expect("the sandbox starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let variables = settings(&nats, &sandbox, &options.variables);
        let start = |name: &'static str, log: &str| {
            Process::start(name, with_key(&nats, name, variables.clone()), folder.path().join(log))
        };
        let discord = start("discord-gateway", "discord.log");
        let twitch = start("twitch-gateway", "twitch.log");
        let workers =
            (0..options.workers).map(|n| start("command-worker", &format!("worker-{n}.log"))).collect();
        Self { sandbox, nats, discord, twitch, workers, variables: options.variables, folder }
    }

    /// The settings of a service of this stack, for one more.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        settings(&self.nats, &self.sandbox, &self.variables)
    }

    /// Starts one more service.
    #[must_use]
    pub fn start_one(&self, name: &'static str, variables: Vec<(String, String)>) -> Process {
        let log = self.folder.path().join(format!("{name}-more.log"));
        Process::start(name, with_key(&self.nats, name, variables), log)
    }

    /// The id of the first Discord channel.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn discord_channel(&self) -> String {
        self.sandbox.discord().channels().first().expect("a channel").id.clone()
    }

    /// The login of the first Twitch channel.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn twitch_channel(&self) -> String {
        self.sandbox.twitch().channels().first().expect("a channel").login.clone()
    }

    /// Says a line on a platform; its message id.
    ///
    /// # Panics
    /// When the sandbox refuses it.
    pub fn say(&self, platform: feed::Platform, person: Person, text: &str) -> String {
        match platform {
            feed::Platform::Discord => {
                self.sandbox.discord().say(person, &self.discord_channel(), text).expect("it is said")
            }
            feed::Platform::Twitch => {
                self.sandbox.twitch().say(person, &self.twitch_channel(), text).expect("it is said")
            }
        }
    }

    /// Every answer to a message or interaction so far.
    #[must_use]
    pub fn answers(&self, platform: feed::Platform, to: &str) -> Vec<feed::Line> {
        let history = match platform {
            feed::Platform::Discord => self.sandbox.discord().history(&self.discord_channel()),
            feed::Platform::Twitch => self.sandbox.twitch().history(&self.twitch_channel()),
        };
        history.into_iter().filter(|line| line.reply_to.as_deref() == Some(to)).collect()
    }

    /// Waits for the answer to a message; there must be just one.
    ///
    /// # Panics
    /// When it does not come in time, with what else was said and the services' logs.
    pub async fn answer(&self, platform: feed::Platform, to: &str) -> feed::Line {
        eventually(REPLY_LIMIT, || async {
            let mut answers = self.answers(platform, to);
            match answers.len() {
                1 => Ok(answers.remove(0)),
                _ => Err(format!("{answers:?}\n{}", self.logs())),
            }
        })
        .await
    }

    /// Says a line as a viewer and waits for the one answer.
    ///
    /// # Panics
    /// As [`say`](Self::say) and [`answer`](Self::answer).
    pub async fn ask(&self, platform: feed::Platform, text: &str) -> feed::Line {
        let id = self.say(platform, Person::Ines, text);
        self.answer(platform, &id).await
    }

    /// What all services logged.
    #[must_use]
    pub fn logs(&self) -> String {
        let all = [&self.discord, &self.twitch].into_iter().chain(&self.workers);
        all.map(Process::log).collect::<Vec<_>>().join("\n----\n")
    }
}

/// By which NATS knows the service.
fn with_key(nats: &Nats, name: &str, mut variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let user = User::named(name).expect("each service is a user of NATS");
    variables.push(("NATS_NKEY".to_owned(), nats.seed(user)));
    variables
}

fn settings(nats: &Nats, sandbox: &Sandbox, more: &[(&'static str, String)]) -> Vec<(String, String)> {
    let http = sandbox.http_url();
    let mut all: Vec<(String, String)> = [
        ("NATS_URL", nats.url()),
        ("DISCORD_TOKEN", "sandbox-token".to_owned()),
        ("DISCORD_API_URL", http.clone()),
        ("TWITCH_USERNAME", "vigie_bot".to_owned()),
        ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
        ("TWITCH_CHANNELS", "vigie_demo".to_owned()),
        ("TWITCH_IRC_URL", format!("irc://{}", sandbox.irc_addr())),
        ("TWITCH_API_URL", http.clone()),
        ("TWITCH_AUTH_URL", http),
        ("COMMAND_COOLDOWN", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for (name, value) in more {
        all.retain(|(known, _)| known != name);
        all.push(((*name).to_owned(), value.clone()));
    }
    all
}
