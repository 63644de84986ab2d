//! Registers the workers' commands as slash commands, only when they changed: Discord allows 200
//! creations a day, and an unchanged overwrite still costs a request at each start.
//! Source: <https://docs.discord.com/developers/interactions/application-commands>.

use std::{collections::HashMap, num::NonZeroU64, sync::Arc, time::Duration};

use bus::Bucket;
use protocol::{Catalogue, CommandSpec, Localized, OptionKind, OptionSpec, Rank, VERSION};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use twilight_http::Client;
use twilight_model::{
    application::command::{Command, CommandOption, CommandOptionType, CommandType},
    guild::Permissions,
    id::Id,
};

use crate::{
    frame::Snowflake,
    render::cut,
    rest::{Call, Rest, RestError, silently},
};

/// The key in the settings bucket under which the workers keep their commands.
pub const CATALOGUE: &str = "catalogue";
/// Commands of one application.
const MAX_COMMANDS: usize = 100;
/// Options of one command.
const MAX_OPTIONS: usize = 25;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 100;
/// How long one registration may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Before a registration that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Registers commands.
#[derive(Debug)]
pub struct Slash {
    /// The application.
    pub application: Snowflake,
    /// There only, or everywhere.
    pub guild: Option<NonZeroU64>,
    /// Sends.
    pub rest: Arc<Rest>,
    /// Builds requests.
    pub builder: Arc<Client>,
    /// Where the catalogue is.
    pub settings: Bucket,
    /// Where it is kept what was registered.
    pub session: Bucket,
}

impl Slash {
    /// Registers the catalogue now and whenever it changes, until the service stops.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut watch = self.settings.watch::<Catalogue>(CATALOGUE);
        let mut wanted: Option<Catalogue> = None;
        let mut retry = false;
        loop {
            tokio::select! {
                catalogue = watch.next() => match catalogue {
                    Some(catalogue) if catalogue.v == VERSION => wanted = Some(catalogue),
                    Some(catalogue) => {
                        warn!(version = catalogue.v, "the catalogue has another version; commands stay as they are");
                        continue;
                    }
                    // Workers that were stopped for good leave their commands; nobody answers says so.
                    None => continue,
                },
                () = sleep(RETRY), if retry => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let Some(catalogue) = &wanted else { continue };
            retry = tokio::select! {
                outcome = self.register(catalogue) => match outcome {
                    Ok(()) => false,
                    // Asked again with the same commands, Discord would refuse them again.
                    Err(error @ RestError::Refused { .. }) => {
                        error!(%error, "slash commands were refused; chat commands are not concerned");
                        false
                    }
                    Err(error) => {
                        warn!(%error, retry_s = RETRY.as_secs(), "slash commands are not registered yet");
                        true
                    }
                },
                () = shutdown.cancelled() => return Ok(()),
            };
        }
    }

    async fn register(&self, catalogue: &Catalogue) -> Result<(), RestError> {
        let commands: Vec<_> = catalogue.commands.iter().take(MAX_COMMANDS).map(command).collect();
        let client = self.builder.interaction(Id::new_checked(self.application.0).unwrap_or(Id::new(1)));
        let (scope, call) = match self.guild {
            Some(guild) => {
                let request = client.set_guild_commands(Id::from(guild), &commands);
                let route = "PUT /applications/{id}/guilds/{id}/commands";
                (guild.to_string(), Call::new(route, 0, request)?)
            }
            None => {
                let request = client.set_global_commands(&commands);
                ("global".to_owned(), Call::new("PUT /applications/{id}/commands", 0, request)?)
            }
        };
        let key = format!("discord.{}.commands.{scope}", self.application);
        let hash = fingerprint(&commands);
        let known = self.session.get::<String>(&key).await.unwrap_or_else(|error| {
            warn!(%error, "what was registered cannot be read; registering again");
            None
        });
        if known.as_deref() == Some(hash.as_str()) {
            info!(scope, commands = commands.len(), "slash commands are registered already");
            return Ok(());
        }
        self.rest.call(&call, Instant::now() + LIMIT, &silently).await?;
        info!(scope, commands = commands.len(), "slash commands registered");
        if let Err(error) = self.session.put(&key, &hash).await {
            warn!(%error, "it was not kept that commands are registered; the next start does it again");
        }
        Ok(())
    }
}

/// The same for the same commands: maps are sorted on their way through a JSON value.
fn fingerprint(commands: &[Command]) -> String {
    let text = serde_json::to_value(commands).unwrap_or_default().to_string();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(deprecated, reason = "a struct literal names the deprecated field, too")]
fn command(spec: &CommandSpec) -> Command {
    Command {
        application_id: None,
        contexts: None,
        // A set means "all of these"; those who may not see it can still be allowed to in a server's settings.
        default_member_permissions: match spec.rank {
            Rank::Everyone => None,
            Rank::Moderator => Some(Permissions::MANAGE_MESSAGES),
            Rank::Owner => Some(Permissions::MANAGE_GUILD),
            // Of nobody: only administrators see it, and whom they let.
            Rank::Operator => Some(Permissions::empty()),
        },
        description: cut(&spec.description.default, MAX_DESCRIPTION),
        description_localizations: localizations(&spec.description),
        dm_permission: None,
        guild_id: None,
        id: None,
        integration_types: None,
        kind: CommandType::ChatInput,
        name: spec.name.clone(),
        name_localizations: None,
        nsfw: None,
        options: spec.options.iter().take(MAX_OPTIONS).map(option).collect(),
        version: Id::new(1),
    }
}

fn option(spec: &OptionSpec) -> CommandOption {
    let kind = match spec.kind {
        OptionKind::Text => CommandOptionType::String,
        OptionKind::Integer => CommandOptionType::Integer,
        OptionKind::Bool => CommandOptionType::Boolean,
        OptionKind::User => CommandOptionType::User,
    };
    // Proposals are texts, which Discord takes for texts only.
    let completes = spec.autocomplete && matches!(spec.kind, OptionKind::Text);
    CommandOption {
        autocomplete: completes.then_some(true),
        channel_types: None,
        choices: None,
        description: cut(&spec.description.default, MAX_DESCRIPTION),
        description_localizations: localizations(&spec.description),
        kind,
        max_length: None,
        max_value: None,
        min_length: None,
        min_value: None,
        name: spec.name.clone(),
        name_localizations: None,
        options: None,
        file_types: None,
        required: spec.required.then_some(true),
    }
}

/// Discord's names of languages: English is two, and most others have no region.
/// Source: <https://docs.discord.com/developers/reference#locales>.
fn localizations(text: &Localized) -> Option<HashMap<String, String>> {
    let mut all: HashMap<String, String> = HashMap::new();
    for (language, words) in &text.other {
        let words = cut(words, MAX_DESCRIPTION);
        match language.as_str() {
            "en" => {
                all.insert("en-US".to_owned(), words.clone());
                all.insert("en-GB".to_owned(), words);
            }
            "es" => {
                all.insert("es-ES".to_owned(), words.clone());
                all.insert("es-419".to_owned(), words);
            }
            "pt" => {
                all.insert("pt-BR".to_owned(), words);
            }
            "sv" => {
                all.insert("sv-SE".to_owned(), words);
            }
            "zh" => {
                all.insert("zh-CN".to_owned(), words);
            }
            other => {
                all.insert(other.to_owned(), words);
            }
        }
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> CommandSpec {
        let text = |default: &str, fr: &str| Localized {
            default: default.to_owned(),
            other: [("fr".to_owned(), fr.to_owned())].into(),
        };
        CommandSpec {
            name: "help".to_owned(),
            description: text("What I can do", "Ce que je sais faire"),
            rank: Rank::Moderator,
            options: vec![OptionSpec {
                name: "command".to_owned(),
                description: text("One command", "Une commande"),
                kind: OptionKind::Text,
                required: false,
                autocomplete: true,
            }],
        }
    }

    #[test]
    fn a_command_becomes_an_application_command() {
        insta::assert_json_snapshot!(command(&spec()));
    }

    #[test]
    fn what_is_for_whoever_runs_the_bot_is_shown_to_administrators_alone() {
        let spec = CommandSpec { rank: Rank::Operator, ..spec() };
        let json = serde_json::to_value(command(&spec)).unwrap();
        assert_eq!(json["default_member_permissions"], "0");
    }

    #[test]
    fn only_texts_are_completed() {
        let text = spec().options.remove(0);
        assert_eq!(option(&text).autocomplete, Some(true));
        for kind in [OptionKind::Integer, OptionKind::Bool, OptionKind::User] {
            assert_eq!(option(&OptionSpec { kind, ..text.clone() }).autocomplete, None);
        }
    }

    #[test]
    fn the_fingerprint_changes_only_with_the_commands() {
        let one = fingerprint(&[command(&spec())]);
        assert_eq!(one, fingerprint(&[command(&spec())]));
        assert_ne!(one, fingerprint(&[command(&CommandSpec { rank: Rank::Everyone, ..spec() })]));
    }
}
