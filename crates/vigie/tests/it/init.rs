//! `vigie init`, by hand in a terminal and by flags, against the sandbox's Discord and Twitch.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
};

use sandbox::{Options, Sandbox};

use crate::{folder::Folder, terminal::Terminal};

/// A folder for a bot, and the platforms that its tokens are asked of.
struct Place {
    folder: Folder,
    url: String,
    _sandbox: Option<Sandbox>,
}

impl Place {
    async fn new() -> Self {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        Self { folder: Folder::new(), url: sandbox.http_url(), _sandbox: Some(sandbox) }
    }

    /// Where no platform answers.
    fn without_network() -> Self {
        Self { folder: Folder::new(), url: "http://127.0.0.1:9".to_owned(), _sandbox: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.vigie(&["init"]);
        command.args(arguments).env("DISCORD_API_URL", &self.url).env("TWITCH_AUTH_URL", &self.url);
        command.env("NO_COLOR", "1").env("LC_ALL", "C");
        command
    }

    /// By flags, with lines of standard input.
    async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let input = input.to_owned();
        let run = move || {
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // One that ends early does not read it.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// In a terminal; `talk` is what the person does.
    async fn talk<T: Send + 'static>(
        &self,
        arguments: &[&str],
        talk: impl FnOnce(Terminal) -> T + Send + 'static,
    ) -> T {
        let command = self.command(arguments);
        tokio::task::spawn_blocking(move || talk(Terminal::start(&command))).await.unwrap()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path().join(path)).unwrap().mode() & 0o777
    }

    /// What is there besides the programs.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap());
        let is_program = |entry: &fs::DirEntry| {
            let entry = entry.metadata().unwrap();
            entry.is_file() && entry.mode() & 0o111 != 0
        };
        let names =
            entries.filter(|entry| !is_program(entry)).map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The settings of a `.env`, without comments.
fn settings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && line.contains('=') && !line.ends_with('=')).collect()
}

#[tokio::test]
async fn a_person_is_led_to_a_bot_that_starts() {
    let place = Place::new().await;
    let (status, shown) = place
        .talk(&[], |mut terminal| {
            terminal.answer("compose or up?", "docker");
            terminal.answer("expected compose or up", "");
            terminal.answer("discord, twitch or both?", "");
            terminal.answer_hidden("the bot's token", "hunter2");
            terminal.wait_for("Discord refuses the token");
            terminal.wait_for("two dots");
            terminal.answer_hidden("the bot's token", "sandbox-token");
            terminal.wait_for("✓ the token is that of Vigie");
            terminal.wait_for("✓ it may read what people type");
            terminal.wait_for("https://discord.com/oauth2/authorize?client_id=");
            terminal.answer("the server's id", "mine");
            terminal.answer("expected a server's id", "42");
            terminal.answer("its Client ID", "");
            terminal.answer_hidden("the token, or that address", "oauth:sandbox-token");
            terminal.wait_for("✓ the token is that of vigie_bot, good for");
            terminal.answer("the channels to join", "#Olive, max");
            terminal.answer("what chat commands start with", "");
            terminal.answer("its language", "fr");
            terminal.answer("write this?", "");
            terminal.ended()
        })
        .await;
    went_well(status, &shown);
    let env = place.read(".env");
    assert_eq!(
        settings(&env),
        [
            "DISCORD_TOKEN_FILE=./secrets/discord_token",
            "DISCORD_GUILD_ID=42",
            "TWITCH_USERNAME=vigie_bot",
            "TWITCH_OAUTH_TOKEN_FILE=./secrets/twitch_oauth_token",
            "TWITCH_CHANNELS=olive,max",
            "LOCALE=fr",
        ]
    );
    assert!(env.contains("# What a chat command starts with.\n#PREFIX=!\n"), "every setting is explained");
    assert_eq!(place.read("secrets/discord_token"), "sandbox-token\n");
    assert_eq!(place.read("secrets/twitch_oauth_token"), "sandbox-token\n");
    let modes = [".env", "secrets", "secrets/discord_token"].map(|path| place.mode(path));
    assert_eq!(modes, [0o600, 0o700, 0o600]);
}

/// It ended well, no secret was shown, and each line fits a terminal of 80 columns; addresses need not, so that
/// they can be copied whole.
fn went_well(status: ExitStatus, shown: &str) {
    assert!(status.success(), "{shown}");
    for secret in ["hunter2", "sandbox-token", "sandbox-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let lines = shown.lines().map(str::trim_end).filter(|line| !line.starts_with("http"));
    let too_long: Vec<&str> = lines.filter(|line| line.chars().count() > 80).collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
}

#[tokio::test]
async fn an_application_is_checked_and_its_token_taken_out_of_the_address() {
    let place = Place::new().await;
    let (status, shown) = place
        .talk(&["--run", "up", "--platforms", "twitch"], |mut terminal| {
            terminal.answer("its Client ID [none]", "sandbox client");
            terminal.answer("expected a Client ID", "sandbox-client");
            terminal.answer_hidden("its Client Secret", "wrong");
            terminal.wait_for("✗ Twitch refuses the Client ID with this secret");
            terminal.answer("its Client ID [sandbox-client]", "");
            terminal.answer_hidden("its Client Secret", "sandbox-secret");
            terminal.wait_for("✓ Twitch knows the application and its secret");
            terminal.wait_for("/oauth2/authorize?response_type=token&client_id=sandbox-client&");
            let address = "http://localhost:3000/#access_token=sandbox-token&scope=chat%3Aread";
            terminal.answer_hidden("the token, or that address", address);
            terminal.answer("the channels to join", "");
            terminal.answer("expected logins with commas", "olive");
            terminal.answer("what chat commands start with", "a b");
            terminal.answer("expected 1 to 8 characters", "$");
            terminal.answer("its language", "");
            terminal.answer("write this?", "");
            terminal.ended()
        })
        .await;
    went_well(status, &shown);
    assert_eq!(place.read("secrets/twitch_oauth_token"), "sandbox-token\n");
    assert_eq!(place.read("secrets/twitch_client_secret"), "sandbox-secret\n");
    assert!(place.read(".env").contains("\nPREFIX='$'\n"), "Compose would take it for a variable");
}

#[tokio::test]
async fn whoever_stops_in_the_middle_finds_everything_as_it_was() {
    let place = Place::new().await;
    let (status, shown, echoes) = place
        .talk(&["--run", "up"], |mut terminal| {
            terminal.answer("discord, twitch or both?", "discord");
            terminal.wait_for("the bot's token");
            while terminal.echoes() {
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
            terminal.press("sandbox-tok\x03");
            terminal.wait_for("stopped; nothing was written");
            let echoes = terminal.echoes();
            let (status, shown) = terminal.ended();
            (status, shown, echoes)
        })
        .await;
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(echoes, "the terminal shows again what is typed");
    assert_eq!(place.files(), Vec::<String>::new());
    let (status, shown) = place
        .talk(&["--run", "up", "--platforms", "none"], |mut terminal| {
            terminal.answer("what chat commands start with", "?");
            terminal.answer("its language", "");
            terminal.answer("write this?", "n");
            terminal.ended()
        })
        .await;
    assert_eq!(status.code(), Some(1), "{shown}");
    assert_eq!(place.files(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_there_is_kept_and_changes_are_shown_before_they_are_made() {
    let place = Place::new().await;
    let old = "# mine\nDISCORD_TOKEN=sandbox-token\nPREFIX=? # as ever\nLOG_LEVEL=debug\n";
    fs::write(place.path().join(".env"), old).unwrap();
    fs::write(place.path().join("compose.yaml"), "name: vigie\n").unwrap();
    let (status, shown) = place
        .talk(&[], |mut terminal| {
            terminal.wait_for("A .env is there already");
            terminal.answer("compose or up? [compose]", "");
            terminal.answer("discord, twitch or both? [discord]", "");
            terminal.answer_hidden("the one that is there", "");
            terminal.wait_for("✓ the token is that of Vigie");
            terminal.answer("the server's id [everywhere]", "");
            terminal.answer("what chat commands start with, as in !ping [?]", "v!");
            terminal.answer("its language, en or fr [en]", "");
            terminal.wait_for("PREFIX=?");
            terminal.wait_for("→ PREFIX=v!");
            terminal.answer("write this?", "y");
            terminal.ended()
        })
        .await;
    assert!(status.success(), "{shown}");
    assert_eq!(place.read(".env"), "# mine\nDISCORD_TOKEN=sandbox-token\nPREFIX=v!\nLOG_LEVEL=debug\n");
    assert_eq!(place.read(".env.bak"), old);
    assert_eq!((place.mode(".env"), place.mode(".env.bak")), (0o600, 0o600));
    assert_eq!(
        place.files(),
        [".env", ".env.bak", "compose.yaml"],
        "a secret that is kept stays where it is"
    );
}

#[tokio::test]
async fn a_script_answers_by_flags_and_replaces_only_what_it_may() {
    let place = Place::new().await;
    let flags = ["--yes", "--run", "compose", "--platforms", "both", "--discord-token-file", "-"];
    let flags = [&flags[..], &["--twitch-token-file", "-", "--twitch-channels", "olive"]].concat();
    let output = place.run(&flags, "sandbox-token\noauth:sandbox-token\n").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(place.read("secrets/discord_token"), "sandbox-token\n");
    assert_eq!((place.mode("secrets"), place.mode("secrets/discord_token")), (0o700, 0o644));
    let again = place.run(&["--yes", "--run", "compose"], "").await;
    assert!(text(&again).contains("nothing to write"), "{}", text(&again));
    let written = place.read(".env");
    let other = ["--yes", "--run", "compose", "--twitch-channels", "max"];
    let refused = place.run(&other, "").await;
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused).contains("add --replace"), "{}", text(&refused));
    assert_eq!(
        (place.read(".env"), place.files()),
        (written.clone(), vec![".env".to_owned(), "secrets".to_owned()])
    );
    let replaced = place.run(&[&other[..], &["--replace"]].concat(), "").await;
    assert_eq!(replaced.status.code(), Some(0), "{}", text(&replaced));
    assert!(place.read(".env").contains("\nTWITCH_CHANNELS=max\n"));
    assert_eq!(place.read(".env.bak"), written);
}

#[tokio::test]
async fn what_a_platform_refuses_is_not_written() {
    let place = Place::new().await;
    let token = place.path().join("token");
    fs::write(&token, "hunter2\n").unwrap();
    let discord = ["--yes", "--platforms", "discord", "--discord-token-file", token.to_str().unwrap()];
    let refused = place.run(&discord, "").await;
    assert_eq!(refused.status.code(), Some(64));
    assert!(
        text(&refused).contains("Discord refuses the token: a bot's token has two dots"),
        "{}",
        text(&refused)
    );
    assert_eq!(place.files(), ["token"]);
    let twitch = ["--yes", "--platforms", "twitch", "--twitch-channels", "olive", "--twitch-token-file", "-"];
    let other = [&twitch[..], &["--twitch-username", "somebody"]].concat();
    let refused = place.run(&other, "sandbox-token\n").await;
    assert!(text(&refused).contains("the token is that of vigie_bot, not of somebody"), "{}", text(&refused));
    let app = [&twitch[..], &["--twitch-client-id", "mine", "--twitch-client-secret-file", "-"]].concat();
    let refused = place.run(&app, "wrong\nsandbox-token\n").await;
    assert!(text(&refused).contains("Twitch refuses the Client ID with this secret"), "{}", text(&refused));
    let nothing = place.run(&["--yes", "--platforms", "discord"], "").await;
    assert!(text(&nothing).contains("give --discord-token-file"), "{}", text(&nothing));
    let nobody = place.run(&[], "").await;
    assert!(text(&nobody).contains("give --yes and flags"), "{}", text(&nobody));
    assert_eq!(place.files(), ["token"], "nothing was written");
    assert!(!text(&refused).contains("hunter2"));
}

#[tokio::test]
async fn a_platform_that_cannot_be_asked_is_left_out_on_demand() {
    let place = Place::without_network();
    let flags = ["--yes", "--run", "up", "--platforms", "discord", "--discord-token-file", "-"];
    let refused = place.run(&flags, "sandbox-token\n").await;
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused).contains("Discord does not answer"), "{}", text(&refused));
    let unseen = place.run(&[&flags[..], &["--unchecked"]].concat(), "sandbox-token\n").await;
    assert_eq!(unseen.status.code(), Some(0), "{}", text(&unseen));
    assert_eq!(place.read("secrets/discord_token"), "sandbox-token\n");
}

#[tokio::test]
async fn a_platform_whose_token_cannot_be_read_is_not_switched_off() {
    let place = Place::new().await;
    let old = "DISCORD_TOKEN_FILE=./secrets/gone\n";
    fs::write(place.path().join(".env"), old).unwrap();
    let refused = place.run(&["--yes", "--replace", "--prefix", "?"], "").await;
    assert_eq!(refused.status.code(), Some(64), "{}", text(&refused));
    assert!(text(&refused).contains("give --discord-token-file"), "{}", text(&refused));
    assert_eq!(place.read(".env"), old);
}
