//! The deployer's own part in its succession: it finds out whether one is due, starts the helper, and reads what that
//! one left behind. The one before does, or the one after, whichever is there.

use protocol::control::AuditResult;
use service::clock::unix_ms;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    crew::Container,
    desk::Desk,
    docker::Docker,
    driver::{RETRY_PAUSE, write},
    engine::Engine,
    hands::Hands,
    lint::Allowed,
    stack::{self, DEPLOYER},
    succession::{Change, Next, Paper, Succession},
};

/// Goes on with a succession by one step.
pub async fn go_on(desk: &Desk, hands: &Hands, journal: &service::Component, own: Succession) {
    let Engine::Docker { docker, allowed, operations: true } = &hands.engine else {
        write(desk, journal, |book| book.succession = None).await;
        return;
    };
    let paper = Paper::new(&hands.data);
    let next = match &own.change {
        // Whatever is wrong with it, deploys are not held up by it.
        None => match due(hands, docker, allowed, &own).await {
            Ok(next) => Ok(next),
            Err(words) => Ok(Next::Over(AuditResult::Refused, words)),
        },
        Some(_) => look(docker, &paper, &own).await,
    };
    match next {
        Ok(Next::Nothing) => write(desk, journal, |book| book.succession = None).await,
        Ok(Next::Due(change)) => {
            if let Err(error) = paper.remove() {
                warn!(%error, "an old note is still there");
            }
            info!(version = own.name, "the deployer itself is replaced");
            write(desk, journal, |book| {
                if let Some(own) = &mut book.succession {
                    own.change = Some(change.clone());
                }
            })
            .await;
        }
        Ok(Next::Start) => {
            write(desk, journal, |book| book.succession.iter_mut().for_each(|own| own.starts += 1)).await;
            if let Err(words) = start(docker, allowed).await {
                warn!(words, "the helper was not started");
                sleep(RETRY_PAUSE.min(hands.pace.limit)).await;
            }
        }
        Ok(Next::Wait) => sleep(hands.pace.look).await,
        Ok(Next::GiveUp) => {
            let words = give_up(hands, docker, &own).await;
            end(desk, journal, docker, &own, (AuditResult::Failed, words)).await;
        }
        Ok(Next::Over(result, words)) => end(desk, journal, docker, &own, (result, words)).await,
        Err(words) => {
            warn!(words, "it is not known how the helper is");
            sleep(RETRY_PAUSE.min(hands.pace.limit)).await;
        }
    }
}

async fn end(
    desk: &Desk,
    journal: &service::Component,
    docker: &Docker,
    own: &Succession,
    (result, words): (AuditResult, String),
) {
    match result {
        AuditResult::Done => info!(version = own.name, words, "done"),
        _ => warn!(version = own.name, words, "the deployer was not replaced"),
    }
    // Before it is written: whoever dies between leaves nothing behind.
    if own.change.is_some()
        && let Err(error) = docker.end(&[docker.helper()]).await
    {
        warn!(error = service::chain(&error), "the helper is still there");
    }
    write(desk, journal, |book| book.succeeded(own, result, &words, unix_ms())).await;
}

/// Which container we are.
fn own<'a>(hands: &Hands, all: &'a [Container]) -> Option<&'a Container> {
    // A container's host name is the beginning of its id.
    let is_own = |it: &&Container| it.id.get(..12).is_some_and(|host| hands.instance.starts_with(host));
    all.iter().filter(|it| it.service == DEPLOYER).find(is_own)
}

/// Whether we run another image than the version has. Everything about us is taken from the operator's own folder: with
/// what somebody pushed under our name they would have the socket.
async fn due(hands: &Hands, docker: &Docker, allowed: &Allowed, own: &Succession) -> Result<Next, String> {
    let all = docker.containers().await.map_err(words)?;
    // Started by hand, or by another supervisor.
    let Some(running) = self::own(hands, &all) else { return Ok(Next::Nothing) };
    let Some(to) = own.image.clone() else {
        return Err(format!(
            "{} has no operations image, so that the deployer stays the one before",
            own.name
        ));
    };
    if running.image == to {
        return Ok(Next::Nothing);
    }
    let folder = home(allowed);
    let config = docker.config(&folder).await.map_err(words)?;
    let tag = stack::read(&config)?.operations;
    let named = config["services"][DEPLOYER]["image"].as_str().unwrap_or("no image");
    if named != tag {
        return Err(format!(
            "the deployer stays the one before: expected {tag} for the service {DEPLOYER} in {folder}, with its profile \
             in DEPLOY_PROFILES, found {named}"
        ));
    }
    // It has to be here when it has to come back.
    docker.tag(&running.image, &docker.kept_as(DEPLOYER, true)).await.map_err(words)?;
    let old = all.iter().filter(|it| it.service == DEPLOYER).map(|it| it.id.clone()).collect();
    Ok(Next::Due(Change { from: running.image.clone(), to, tag, old }))
}

async fn look(docker: &Docker, paper: &Paper, own: &Succession) -> Result<Next, String> {
    let helper = docker.container(&docker.helper()).await.map_err(words)?;
    // It writes before it ends, so that it is looked at after that.
    let note = paper.read(&own.deploy);
    Ok(own.next(note.as_ref(), helper.as_ref().map(|helper| helper.state.as_str())))
}

async fn start(docker: &Docker, allowed: &Allowed) -> Result<(), String> {
    let name = docker.helper();
    if docker.container(&name).await.map_err(words)?.is_some() {
        let said = docker.last_words(&name).await;
        warn!(said, "the helper ended without a word; another one is started");
        docker.end(&[name]).await.map_err(words)?;
    }
    docker.start_helper(&home(allowed)).await.map(drop).map_err(words)
}

/// One is there that works, which is us: it stays.
async fn give_up(hands: &Hands, docker: &Docker, own: &Succession) -> String {
    let said = docker.last_words(&docker.helper()).await;
    let stays = async {
        let change = own.change.as_ref().ok_or("it is not known what was to be done")?;
        let all = docker.containers().await.map_err(words)?;
        let running = self::own(hands, &all).ok_or("it is not known which container this is")?;
        docker.tag(&running.image, &change.tag).await.map_err(words)?;
        let others = all.iter().filter(|it| it.service == DEPLOYER && it.id != running.id);
        let others: Vec<String> = others.map(|it| it.id.clone()).collect();
        if !others.is_empty() {
            docker.end(&others).await.map_err(words)?;
        }
        Ok::<_, String>(running.image == change.to)
    };
    let outcome = match stays.await {
        Ok(true) => format!("the deployer of {} goes on", own.name),
        Ok(false) => "the deployer of before goes on".to_owned(),
        Err(words) => format!("look at once: {words}"),
    };
    format!("the helper that replaces the deployer ended {} times: {said}\n{outcome}", own.starts)
}

fn home(allowed: &Allowed) -> String {
    allowed.home.to_string_lossy().into_owned()
}

fn words(error: impl std::error::Error) -> String {
    service::chain(&error)
}
