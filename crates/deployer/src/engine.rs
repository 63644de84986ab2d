//! What runs the bot, as the steps of a deploy see it: something that has versions, and instances of services, which
//! are called containers whatever they are.

use tracing::warn;

use crate::{
    crew::{self, Container, Goal, Move},
    docker::Docker,
    lint::Allowed,
    release::{Crew, OPERATIONS, Operations, Release},
    sheet::Sheet,
    source::{self, Source},
    stack::{Service, Stack},
    systemd::Systemd,
    units,
};

/// What runs the bot.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Docker, by a compose file.
    Docker {
        /// The program.
        docker: Docker,
        /// What a compose file may hold.
        allowed: Box<Allowed>,
        /// Whether what runs from the second image is replaced too.
        operations: bool,
    },
    /// systemd, by units that start the programs of a release.
    Systemd(Systemd),
}

impl Engine {
    /// Its name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Docker { .. } => "docker",
            Self::Systemd(_) => "systemd",
        }
    }

    /// The platform that it runs, such as `linux/arm64`. Whether it answers at all.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn platform(&self) -> Result<String, String> {
        match self {
            Self::Docker { docker, .. } => docker.platform().await.map_err(words),
            Self::Systemd(systemd) => systemd.platform().await.map_err(words),
        }
    }

    /// Has a version here.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn fetch(&self, source: &Source, release: Release) -> Result<Release, String> {
        match self {
            Self::Docker { docker, allowed, operations } => {
                source.fetch(docker, allowed, *operations, release).await.map_err(words)
            }
            Self::Systemd(systemd) => {
                source.fetch_binaries(&systemd.shelf, &release).await.map_err(words)?;
                let folder = systemd.shelf.bin(&release.name).to_string_lossy().into_owned();
                Ok(Release { image: release.name.clone(), folder, ..release })
            }
        }
    }

    /// That a version is here, and stays, and is for this machine.
    ///
    /// # Errors
    /// What is missing.
    pub async fn proved(&self, release: &Release) -> Result<(), String> {
        match self {
            Self::Docker { docker, .. } => {
                let platform = docker.platform().await.map_err(words)?;
                let second = release.operations.as_ref().map(|second| (&second.image, true));
                for (image, second) in [Some((&release.image, false)), second].into_iter().flatten() {
                    let found = docker.image(image).await.map_err(words)?;
                    let gone = || format!("the image of {} is not on this machine any more", release.name);
                    let found = found.ok_or_else(gone)?;
                    if found.platform != platform {
                        let (name, other) = (&release.name, &found.platform);
                        return Err(format!("{name} is for {other}, this machine is {platform}"));
                    }
                    docker.tag(image, &docker.kept_as(&release.name, second)).await.map_err(words)?;
                }
                Ok(())
            }
            Self::Systemd(systemd) if systemd.shelf.has(&release.image) => {
                systemd.prove(release).await.map_err(words)
            }
            Self::Systemd(_) => {
                Err(format!("the programs of {} are not on this machine any more", release.name))
            }
        }
    }

    /// A version without what is not replaced here.
    #[must_use]
    pub fn wanted(&self, release: &Release) -> Release {
        match self {
            Self::Docker { operations: true, .. } => release.clone(),
            Self::Docker { .. } | Self::Systemd(_) => Release { operations: None, ..release.clone() },
        }
    }

    /// The second image of what runs now, where the one of `target` is to replace it: what a service runs, or else what
    /// has its name.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn second_of_now(
        &self,
        target: &Release,
        crew: &[Crew],
        all: &[Container],
    ) -> Result<Option<Operations>, String> {
        match self {
            Self::Docker { docker, allowed, .. } if target.operations.is_some() => {
                let runs_it =
                    |it: &&Container| crew.iter().any(|crew| crew.operations && crew.old.contains(&it.id));
                let image = match all.iter().find(runs_it) {
                    Some(running) => Some(running.image.clone()),
                    None => {
                        let name = checked(docker, allowed, target).await?.0.operations;
                        docker.image(&name).await.map_err(words)?.map(|image| image.id)
                    }
                };
                Ok(image.map(|image| Operations { pull: String::new(), image }))
            }
            Self::Docker { .. } | Self::Systemd(_) => Ok(None),
        }
    }

    /// The services of a version.
    ///
    /// # Errors
    /// Why its compose file is not used.
    pub async fn services(&self, release: &Release) -> Result<Vec<Service>, String> {
        match self {
            Self::Docker { docker, allowed, .. } => {
                let mut services = checked(docker, allowed, release).await?.0.services;
                services.retain(|service| !service.operations || release.operations.is_some());
                Ok(services)
            }
            Self::Systemd(_) => Ok(units::services()),
        }
    }

    /// That one version can be replaced by another while the bot runs.
    ///
    /// # Errors
    /// What would stop it for a while.
    pub async fn fits(&self, from: &Release, target: &Release) -> Result<(), String> {
        match self {
            Self::Docker { docker, allowed, .. } => {
                let (before, read_before) = checked(docker, allowed, from).await?;
                let (after, read_after) = checked(docker, allowed, target).await?;
                for (release, sheet) in [(from, read_before), (target, read_after)] {
                    if !docker.is_settled(&sheet).await.map_err(words)? {
                        let name = &release.name;
                        return Err(format!(
                            "Compose does not read the compose file of {name} as it wrote it: do this update by hand"
                        ));
                    }
                }
                // The tag is moved to this version: it must not be that of something else on this machine.
                if before.image != after.image {
                    return Err(format!(
                        "expected the image {} as before, found {}: do this update by hand",
                        before.image, after.image
                    ));
                }
                let changed = before.changed_in(&after).join(", ");
                if changed.is_empty() {
                    return Ok(());
                }
                Err(format!("{changed}: changed, which stops the bot for a while: do this update by hand"))
            }
            Self::Systemd(systemd) => systemd.as_linked().await.map_err(words),
        }
    }

    /// The version that a container runs, when nothing is known of it: it was started by hand.
    #[must_use]
    pub fn by_hand(&self, running: &Container, target: &Release) -> Release {
        match self {
            Self::Docker { .. } => Release {
                name: format!("before-{}", short(&running.image)),
                source: running.image.clone(),
                commit: None,
                pull: String::new(),
                image: running.image.clone(),
                operations: None,
                folder: if running.folder.is_empty() {
                    target.folder.clone()
                } else {
                    running.folder.clone()
                },
            },
            Self::Systemd(systemd) => Release {
                name: running.image.clone(),
                source: running.image.clone(),
                commit: None,
                pull: String::new(),
                image: running.image.clone(),
                operations: None,
                folder: systemd.shelf.bin(&running.image).to_string_lossy().into_owned(),
            },
        }
    }

    /// Whoever starts something by hand from here on gets this version; and whatever all services need is made.
    ///
    /// # Errors
    /// What failed.
    pub async fn prepare(&self, goal: &Release) -> Result<(), String> {
        match self {
            Self::Docker { docker, allowed, .. } => {
                let (stack, sheet) = checked(docker, allowed, goal).await?;
                docker.tag(&goal.image, &stack.image).await.map_err(words)?;
                if let Some(second) = &goal.operations {
                    docker.tag(&second.image, &stack.operations).await.map_err(words)?;
                }
                if let Some(keys) = &stack.keys {
                    docker.run_once(&sheet, keys).await.map_err(words)?;
                    if let Some(nats) = &stack.nats {
                        docker.reload_nats(&sheet, nats).await.map_err(words)?;
                    }
                }
                Ok(())
            }
            Self::Systemd(systemd) => systemd.prepare(&goal.image).await.map_err(words),
        }
    }

    /// All instances of the bot's services.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn containers(&self) -> Result<Vec<Container>, String> {
        match self {
            Self::Docker { docker, .. } => docker.containers().await.map_err(words),
            Self::Systemd(systemd) => systemd.containers().await.map_err(words),
        }
    }

    /// The same as they are to be again after going back: not what stood in for others, or was given up on.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn standing(&self) -> Result<Vec<Container>, String> {
        let mut all = self.containers().await?;
        if let Self::Systemd(_) = self {
            all.retain(|it| it.state != "exited" && !units::is_helper(it));
        }
        Ok(all)
    }

    /// What to do next to bring a service where it should be.
    #[must_use]
    pub fn next(&self, goal: &Goal<'_>, all: &[Container]) -> Move {
        match self {
            Self::Docker { .. } => crew::next(goal, all),
            Self::Systemd(_) => units::next(goal, all),
        }
    }

    /// The units that are to run, where there are units.
    #[must_use]
    pub fn units(&self, goal: &Goal<'_>) -> Option<Vec<String>> {
        match self {
            Self::Docker { .. } => None,
            Self::Systemd(_) => Some(units::wanted(goal)),
        }
    }

    /// Does it. What only waits is not for here.
    ///
    /// # Errors
    /// What failed.
    pub async fn obey(&self, what: &Move, goal: &Goal<'_>, release: &Release) -> Result<(), String> {
        let service = &goal.crew.service;
        match self {
            Self::Docker { docker, allowed, .. } => match what {
                Move::Grow(count) => {
                    docker.grow(&sheet(docker, allowed, release).await?, service, *count).await.map(drop)
                }
                Move::Renew(count) => {
                    docker.renew(&sheet(docker, allowed, release).await?, service, *count).await.map(drop)
                }
                Move::End(ids) => docker.end(ids).await,
                Move::Arrived | Move::Wait(..) | Move::Fail(..) => Ok(()),
            }
            .map_err(words),
            Self::Systemd(systemd) => systemd.obey(what, goal).await.map_err(words),
        }
    }

    /// The last words of a container.
    pub async fn last_words(&self, id: &str) -> String {
        match self {
            Self::Docker { docker, .. } => docker.last_words(id).await,
            Self::Systemd(systemd) => systemd.last_words(id).await,
        }
    }

    /// Removes all versions but these.
    pub async fn keep(&self, releases: &[&Release], source: &Source) {
        match self {
            Self::Docker { docker, .. } => {
                match docker.kept().await {
                    Ok(names) => {
                        let is_kept = |name: &String| {
                            let name = name.strip_suffix(OPERATIONS).unwrap_or(name);
                            releases.iter().any(|kept| kept.name == name)
                        };
                        for name in names.iter().filter(|name| !is_kept(name)) {
                            if let Err(error) = docker.forget(name).await {
                                warn!(name, error = words(error), "an old image is still here");
                            }
                        }
                    }
                    Err(error) => warn!(error = words(error), "old images are still here"),
                }
                // Files that a container was given must be there when it starts again.
                let Ok(containers) = docker.containers().await else { return };
                let used = containers.iter().map(|it| it.folder.clone());
                let folders: Vec<String> =
                    releases.iter().map(|release| release.folder.clone()).chain(used).collect();
                source.prune(&folders);
            }
            Self::Systemd(systemd) => {
                // What is wrong with asking today is not tomorrow.
                let Ok(containers) = systemd.containers().await else { return };
                let used = |name: &String| {
                    releases.iter().any(|kept| kept.image == *name)
                        || containers.iter().any(|it| it.image == *name)
                };
                for name in systemd.shelf.names().iter().filter(|name| !used(name)) {
                    if let Err(error) = systemd.shelf.remove(name) {
                        warn!(name, error = words(error), "an old release is still here");
                    }
                }
            }
        }
    }
}

async fn checked(docker: &Docker, allowed: &Allowed, release: &Release) -> Result<(Stack, Sheet), String> {
    source::checked(docker, allowed, release).await.map_err(words)
}

/// What Compose makes containers of a version by.
async fn sheet(docker: &Docker, allowed: &Allowed, release: &Release) -> Result<Sheet, String> {
    if source::is_own(allowed, release) {
        return Ok(Sheet::Own(release.folder.clone()));
    }
    Ok(checked(docker, allowed, release).await?.1)
}

fn short(image: &str) -> &str {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    hex.get(..12).unwrap_or(hex)
}

fn words(error: impl std::error::Error) -> String {
    service::chain(&error)
}
