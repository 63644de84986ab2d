//! An order, from a person to the service: on the page first, so that it is given once, whatever dies meanwhile.

use bus::BucketError;
use commands::{Answer, Ask, Failure, Form, Order};
use protocol::{ACTION_LIFE_MS, control::Job};
use tracing::{info, warn};

use crate::{
    jobs::{
        ask::{self, NotTaken},
        page::{Added, Followed},
    },
    worker::Worker,
};

impl Worker {
    /// Has it carried out; what the person is answered.
    ///
    /// # Errors
    /// [`Failure`] when NATS does not keep what is to be followed; then nothing was ordered.
    pub async fn order(&self, ask: &Ask, order: Order, trace: &str) -> Result<Answer, Failure> {
        let unkept = |source: BucketError| Failure::caused_by("the order is not kept", source);
        let one = followed(ask, order);
        let words = one.words();
        match self.jobs.change(|page| page.add(&one)).await.map_err(unkept)? {
            Added::New => {}
            Added::Full => return Ok(words.too_many()),
            Added::Again(known) => {
                let job = match (&known.job, known.over) {
                    (Some(job), _) => Some(job.clone()),
                    (None, true) => {
                        return Ok(known.end.as_ref().map_or_else(|| words.uncertain(), Answer::note));
                    }
                    (None, false) => self.begun(&known).await,
                };
                if let Some(job) = job {
                    return self.accept(ask, &known, &job, trace).await;
                }
            }
        }
        match ask::give(&self.bus, &one.order, &one.by).await {
            Ok(job) => {
                info!(by = one.by, job, "ordered");
                self.accept(ask, &one, &job, trace).await
            }
            Err(NotTaken::Not(silence)) => {
                let refusal = words.silence(&silence);
                let refused = |page: &mut super::Page| {
                    page.update(&one.event, |one| {
                        (one.over, one.end) = (true, Some(refusal.content.text.clone()));
                    });
                };
                self.jobs.change(refused).await.map_err(unkept)?;
                Ok(refusal)
            }
            Err(NotTaken::Uncertain) => {
                let over = |page: &mut super::Page| page.update(&one.event, |one| one.over = true);
                self.jobs.change(over).await.map_err(unkept)?;
                Ok(one.words().uncertain())
            }
        }
    }

    /// The service has it: from now on it is followed.
    async fn accept(&self, ask: &Ask, one: &Followed, job: &str, trace: &str) -> Result<Answer, Failure> {
        let opening = one.words().accepted(job);
        let noted = self.jobs.change(|page| {
            page.update(&one.event, |one| {
                one.job = Some(job.to_owned());
                if one.shown.is_empty() {
                    one.shown.clone_from(&opening);
                }
            });
        });
        if let Err(error) = noted.await {
            // It goes on all the same.
            warn!(event_id = %one.event, error = service::chain(&error), "the order is not followed");
        }
        Ok(match ask.form {
            Form::Chat { .. } if one.changes_messages() => Answer::text(opening),
            Form::Chat { .. } => Answer::text(one.words().told_at_the_end(job)),
            // What answers an interaction can be changed for 15 minutes, and by the gateway alone that has its token. A
            // message of the bot's own can be for ever.
            Form::Slash | Form::Button { .. } => {
                let action = one.opening(opening, service::clock::unix_ms() + ACTION_LIFE_MS);
                if let Err(error) = self.publish(&action, trace).await {
                    return Err(Failure::new(format!("{job} was ordered, which cannot be shown: {error}")));
                }
                one.words().told_here(job)
            }
        })
    }

    /// What the service calls an order of which a worker died before it was told.
    async fn begun(&self, one: &Followed) -> Option<String> {
        let job: Option<Job> = match one.order.office() {
            commands::Office::Deploy => ask::deploy_status(&self.bus).await.ok()?.job,
            commands::Office::Backup => ask::backup_status(&self.bus).await.ok()?.job,
        };
        job.filter(|job| one.may_be(&job.by, job.began_ms)).map(|job| job.id)
    }
}

fn followed(ask: &Ask, order: Order) -> Followed {
    let to = match &ask.form {
        Form::Chat { message, .. } => Some(message.clone()),
        Form::Slash | Form::Button { .. } => None,
    };
    Followed {
        event: ask.event.clone(),
        platform: ask.platform,
        community: ask.community.clone(),
        channel: ask.channel.clone(),
        to,
        language: ask.language.tag().to_owned(),
        prefix: ask.prefix().to_owned(),
        received_us: ask.received_us,
        by: format!("{}:{}", ask.platform, ask.user.id),
        order,
        asked_ms: service::clock::unix_ms(),
        job: None,
        begun: false,
        message: None,
        shown: String::new(),
        changes: 0,
        changed_ms: 0,
        end: None,
        again: false,
        over: false,
    }
}
