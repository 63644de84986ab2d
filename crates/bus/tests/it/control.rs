//! Orders: obeyed, refused, told to one of several, and noted.

use std::time::Duration;

use bus::{Ordered, RequestError};
use protocol::{
    VERSION,
    control::{
        Audit, AuditResult, BackupAnswer, BackupOrder, BackupReply, BackupRequest, DeployOrder,
        DeployRequest, Order, Restart,
    },
};
use testkit::Nats;

const WITHIN: Duration = Duration::from_secs(5);

fn backup(order: BackupOrder) -> BackupRequest {
    BackupRequest { v: VERSION, by: "cli".to_owned(), order }
}

fn restart(instance: Option<&str>) -> Restart {
    let (by, reason) = ("cli".to_owned(), "it hangs".to_owned());
    Restart { v: VERSION, by, reason, instance: instance.map(str::to_owned) }
}

#[tokio::test]
async fn an_order_is_obeyed_and_answered() {
    let nats = Nats::start().await;
    let (bus, cli) = (nats.bus("backup").await, nats.bus("cli").await);
    let nobody = cli.command("backup", &backup(BackupOrder::Create), WITHIN).await;
    assert!(matches!(nobody, Err(RequestError::NoResponders { .. })), "{nobody:?}");

    let mut orders = bus.obey::<BackupRequest>("backup").await.unwrap();
    bus.round_trip().await;
    let obeying = async {
        let Ordered { order, .. } = &orders.next().await.unwrap();
        assert_eq!(order.order, BackupOrder::Status);
        let ordered = orders.next().await.unwrap();
        assert_eq!(ordered.order.order, BackupOrder::Create);
        let reply = BackupReply::Accepted { job: "1".to_owned() };
        ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
    };
    let asking = async {
        // Not answered: whoever asks knows after the time it gave.
        let unanswered = cli.command("backup", &backup(BackupOrder::Status), Duration::from_millis(50)).await;
        assert!(matches!(unanswered, Err(RequestError::TimedOut { .. })), "{unanswered:?}");
        cli.command("backup", &backup(BackupOrder::Create), WITHIN).await.unwrap()
    };
    let ((), answer) = tokio::join!(obeying, asking);
    assert_eq!(answer.reply, BackupReply::Accepted { job: "1".to_owned() });
}

/// Who may ask what is held by NATS, by the subject; a payload that says otherwise must not get around it.
#[tokio::test]
async fn an_order_on_the_subject_of_another_one_is_refused() {
    let nats = Nats::start().await;
    let (bus, other) = (nats.bus("backup").await, nats.bus("deployer").await);
    let mut orders = bus.obey::<BackupRequest>("backup").await.unwrap();
    bus.round_trip().await;
    let asking = async {
        let restore = backup(BackupOrder::Restore { backup: "latest".to_owned(), into: None });
        let subject = "control.backup.create".to_owned();
        let answer: BackupAnswer = other.request(subject, &restore, WITHIN, None).await.unwrap();
        let subject = "control.backup.list".to_owned();
        let order = DeployOrder::Status;
        let foreign = DeployRequest { v: VERSION, by: "cli".to_owned(), order };
        let unread: BackupAnswer = other.request(subject, &foreign, WITHIN, None).await.unwrap();
        (answer.reply, unread.reply)
    };
    let (answer, unread) = tokio::select! {
        answers = asking => answers,
        taken = orders.next() => panic!("{taken:?} was taken"),
    };
    let BackupReply::Refused { reason } = answer else { panic!("{answer:?}") };
    assert_eq!(reason, "`restore` was asked where `create` is asked");
    assert!(matches!(unread, BackupReply::Refused { .. }), "{unread:?}");
}

#[tokio::test]
async fn only_the_instance_that_is_named_starts_again() {
    let nats = Nats::start().await;
    let (bus, cli) = (nats.bus("worker").await, nats.bus("cli").await);
    let mut first = bus.obey_restart("command-worker", "first").await.unwrap();
    let mut second = bus.obey_restart("command-worker", "second").await.unwrap();
    bus.round_trip().await;
    let told = async {
        tokio::select! {
            told = first.next() => panic!("the first took {told:?}"),
            told = second.next() => told.unwrap(),
        }
    };
    let order = restart(Some("second"));
    let (answer, told) = tokio::join!(cli.command_restart("command-worker", &order, WITHIN), told);
    assert_eq!((answer.unwrap().instance.as_str(), told), ("second", order));

    let order = restart(None);
    let (answer, one, other) =
        tokio::join!(cli.command_restart("command-worker", &order, WITHIN), first.next(), second.next());
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!((one.unwrap(), other.unwrap()), (order.clone(), order));
}

#[tokio::test]
async fn what_was_done_is_read_again_the_newest_first() {
    let nats = Nats::start().await;
    let bus = nats.bus("backup").await;
    assert_eq!(bus.trail(10).await.unwrap(), []);
    let entry = |at_ms| Audit {
        v: VERSION,
        at_ms,
        service: "backup".to_owned(),
        by: "schedule".to_owned(),
        verb: backup(BackupOrder::Create).verb().to_owned(),
        object: "4bba301e".to_owned(),
        result: AuditResult::Done,
        words: "saved 3 MB".to_owned(),
    };
    for at_ms in [1, 2, 3, 3] {
        bus.note(&entry(at_ms)).await.unwrap();
    }
    assert_eq!(bus.trail(2).await.unwrap(), [entry(3), entry(2)], "the same is noted once");
    assert_eq!(bus.trail(10).await.unwrap().len(), 3);
    let since = bus.trail_since(1, 10).await.unwrap();
    assert_eq!((since.entries, since.number), (vec![(2, entry(2)), (3, entry(3))], 3));
    let since = bus.trail_since(0, 2).await.unwrap();
    assert_eq!((since.entries.len(), since.number), (2, 2), "the rest is read the next time");
    let since = bus.trail_since(3, 10).await.unwrap();
    assert_eq!((since.entries.len(), since.number), (0, 3));
    let since = bus.trail_since(9, 10).await.unwrap();
    assert_eq!((since.entries.len(), since.number), (0, 3), "it has begun anew since");
}
