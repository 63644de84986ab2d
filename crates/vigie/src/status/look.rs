//! Looking at a Vigie, again and again: at NATS when that is there, else at what runs Vigie.

use bus::{Backlog, Bus, Link, Stream, Survey};

use super::{Away, DEAD, View, asking};
use crate::{
    find::{self, BadSetting},
    here::{self, HandedOver, Runs, Starter},
};

/// Looks at a Vigie; connects to its NATS when that is there.
pub(crate) struct Looker<'a> {
    runs: &'a Runs,
    url: String,
    /// Why NATS cannot be asked from here at all.
    without: Option<String>,
    /// Who knows what was started, once that was looked for.
    starter: Option<Starter>,
    pub bus: Option<Bus>,
}

impl<'a> Looker<'a> {
    /// `without`: why NATS cannot be asked from here, where that is known.
    ///
    /// # Errors
    /// When a setting cannot be read.
    pub(crate) fn new(runs: &'a Runs, without: Option<String>) -> anyhow::Result<Self> {
        Ok(Self { runs, url: runs.which.nats_url()?, without, starter: None, bus: None })
    }

    /// How everything is now. Without NATS a `vigie` in a container knows nothing: then its caller is to look, and
    /// there is no view.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub(crate) async fn look(&mut self) -> anyhow::Result<Option<View>> {
        if let Some(reason) = &self.without {
            return Ok(Some(self.away(reason.clone()).await));
        }
        if self.bus.is_none() {
            match find::connect(&self.url).await {
                Ok(bus) => self.bus = Some(bus),
                Err(reason) if reason.is::<BadSetting>() => return Err(reason),
                Err(reason) => return Ok(self.unless_inside(format!("{reason:#}")).await),
            }
        }
        match &self.bus {
            Some(bus) if *bus.link().borrow() == Link::Up => {
                if self.starter.is_none() {
                    self.starter = Some(Starter::find(self.runs).await);
                }
                let started = match &self.starter {
                    Some(starter) => starter.parts().await,
                    None => Vec::new(),
                };
                let (streams, lacks) = stored(bus).await;
                Ok(Some(View {
                    url: bus::without_credentials(&self.url),
                    server: bus.server_version(),
                    services: asking::services(bus).await,
                    started,
                    streams,
                    lacks,
                    away: None,
                }))
            }
            // It comes back by itself.
            _ => {
                let url = bus::without_credentials(&self.url);
                Ok(self.unless_inside(format!("NATS at {url} does not answer any more")).await)
            }
        }
    }

    /// Asks again in a container, where NATS could not be asked from there before; the exit code of that.
    pub(super) async fn hand_over_again(&mut self) -> Option<std::process::ExitCode> {
        self.without.as_ref()?;
        match here::hand_over(&self.runs.which, true).await {
            Ok(HandedOver::Done(code)) => return Some(code),
            Ok(HandedOver::WithoutNats(reason)) => self.without = Some(reason),
            Ok(HandedOver::Not) => self.without = None,
            // Docker may not answer for a while.
            Err(reason) => self.without = Some(format!("{reason:#}")),
        }
        None
    }

    async fn unless_inside(&self, reason: String) -> Option<View> {
        if here::is_inside() { None } else { Some(self.away(reason).await) }
    }

    async fn away(&self, reason: String) -> View {
        let runs = match here::find(self.runs).await {
            Ok(Some(found)) => {
                let parts = found.parts().await.unwrap_or_default();
                Some((found.to_string(), found.way(), parts))
            }
            // There may be nothing, or more than one; the reason is what counts here.
            Ok(None) | Err(_) => None,
        };
        View {
            url: bus::without_credentials(&self.url),
            server: String::new(),
            services: Vec::new(),
            started: Vec::new(),
            streams: Vec::new(),
            lacks: None,
            away: Some(Away { reason, runs }),
        }
    }
}

/// How much waits in the streams that people know, and what is wrong with all that NATS keeps.
async fn stored(bus: &Bus) -> (Vec<Backlog>, Option<String>) {
    match bus.survey().await {
        Ok(survey) => (backlogs(&survey), lacks(&survey)),
        Err(error) => (Vec::new(), Some(format!("{:#}", anyhow::Error::from(error)))),
    }
}

fn backlogs(survey: &Survey) -> Vec<Backlog> {
    let shown = Stream::ALL.map(Stream::name).into_iter().chain([DEAD]);
    let found = shown.filter_map(|name| survey.streams.iter().find(|one| one.name == name));
    found.map(|one| Backlog { stream: one.name, messages: one.messages, bytes: one.bytes }).collect()
}

/// What should be there and is not.
fn lacks(survey: &Survey) -> Option<String> {
    if survey.missing.is_empty() {
        return None;
    }
    if survey.streams.is_empty() {
        return Some("NATS has no streams: run `vigie provision`".to_owned());
    }
    // As `vigie provision --check` calls them.
    let names: Vec<&str> =
        survey.missing.iter().map(|name| name.strip_prefix("KV_").unwrap_or(name)).collect();
    Some(format!("NATS lacks {}: run `vigie provision`", names.join(", ")))
}
