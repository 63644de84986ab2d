//! What a grant of each kind consists of, in the subjects that the client really uses.

use protocol::{Platform, subject};

use super::{FOR_APP, Grant, OF_APP, User};
use crate::topology::{
    AUDIT_STREAM, BucketName, DEAD_STREAM, ONCE_PREFIX, ONCE_STREAM, Queue, SAVED, SNAPSHOT_PARTS, Stream,
};

/// What the services protocol asks.
const VERBS: [&str; 3] = ["PING", "INFO", "STATS"];
/// Where the server has what was asked across accounts be answered.
const ACROSS: &str = "_R_.>";

impl Grant {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), publish: Vec::new(), subscribe: Vec::new(), across: false }
    }

    fn publish<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.publish.extend(subjects.into_iter().map(Into::into));
        self
    }

    fn subscribe<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.subscribe.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// The same subjects of `OPS`, for a user of `APP`.
    pub(super) fn of_ops(mut self) -> Self {
        self.across = true;
        self
    }

    /// The same subjects of `APP`, for a user of `OPS`.
    pub(super) fn of_app(mut self) -> Self {
        self.across = true;
        for subject in self.publish.iter_mut().filter(|subject| subject.starts_with("$JS.")) {
            subject.insert_str(0, OF_APP);
        }
        self
    }
}

/// To say something to whoever listens, or have it stored.
pub(super) fn tell(why: &str, subjects: &[&str]) -> Grant {
    Grant::new(why).publish(subjects.iter().copied())
}

/// To listen.
pub(super) fn hear(why: &str, subjects: &[&str]) -> Grant {
    Grant::new(why).subscribe(subjects.iter().copied())
}

/// To be answered.
pub(super) fn inbox(user: User) -> Grant {
    let own = format!("{}.>", user.inbox());
    Grant::new("be answered; nobody else may listen there").publish([own.clone()]).subscribe([own])
}

/// To serve questions of `askers`: by one of `group`, or by each who listens. Answers go to their inboxes and
/// nowhere else, whatever subject a question names for it.
pub(super) fn serve(user: User, why: &str, subjects: &[&str], group: Option<&str>, askers: &[User]) -> Grant {
    let listened = subjects.iter().map(|subject| match group {
        Some(group) => format!("{subject} {group}"),
        None => (*subject).to_owned(),
    });
    Grant::new(why).subscribe(listened).publish(answers(user, askers))
}

fn answers(user: User, askers: &[User]) -> Vec<String> {
    let near = |asker: &&User| asker.account() == user.account();
    let mut inboxes: Vec<String> =
        askers.iter().filter(near).map(|asker| format!("{}.>", asker.inbox())).collect();
    if askers.iter().any(|asker| !near(&asker)) {
        inboxes.push(ACROSS.to_owned());
    }
    inboxes
}

/// To be found and counted.
pub(super) fn found(user: User, askers: &[User]) -> Grant {
    let questions = VERBS.iter().flat_map(|verb| {
        [format!("$SRV.{verb}"), format!("$SRV.{verb}.{user}"), format!("$SRV.{verb}.{user}.*")]
    });
    Grant::new("be found and counted")
        .subscribe(questions)
        .subscribe([format!("vigie.{user}.stats q")])
        .publish(answers(user, askers))
}

/// To ask who is there and how they are.
pub(super) fn ask_services() -> Grant {
    let questions = VERBS.iter().flat_map(|verb| [format!("$SRV.{verb}"), format!("$SRV.{verb}.>")]);
    Grant::new("ask who is there, and how").publish(questions).publish(["vigie.*.stats"])
}

/// To be told to end.
pub(super) fn restarted(user: User, askers: &[User]) -> Grant {
    let subject = format!("control.{user}.restart");
    serve(user, "be told to start again", &[&subject], None, askers)
}

/// To tell `users` to end.
pub(super) fn restart(users: impl IntoIterator<Item = User>) -> Grant {
    let subjects = users.into_iter().map(|user| format!("control.{user}.restart"));
    Grant::new("tell services to start again").publish(subjects)
}

/// To own partitions: make, remove and use their consumers, and bury what fails.
pub(super) fn own_partitions(queue: Queue) -> Grant {
    let stream = queue.stream().name();
    let taken = match queue {
        Queue::Commands => "event.*.*.command.*".to_owned(),
        Queue::Actions(platform) => format!("action.{platform}.*.*"),
    };
    Grant::new(format!("take `{taken}`, by consumers of its own"))
        .publish([
            format!("$JS.API.CONSUMER.NAMES.{stream}"),
            format!("$JS.API.CONSUMER.CREATE.{stream}.*.{taken}"),
            format!("$JS.API.CONSUMER.INFO.{stream}.*"),
            format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
            format!("$JS.ACK.{stream}.>"),
        ])
        .publish([format!("$JS.API.STREAM.MSG.GET.{stream}"), format!("dead.{stream}")])
}

/// To take messages by a consumer that all of them share, and bury what fails.
pub(super) fn share(stream: Stream, consumer: &str) -> Grant {
    let name = stream.name();
    Grant::new(format!("take what waits in {name} for `{consumer}`")).publish([
        format!("$JS.API.CONSUMER.INFO.{name}.{consumer}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{consumer}"),
        format!("$JS.ACK.{name}.{consumer}.>"),
        format!("dead.{name}"),
    ])
}

/// To read the keys that fit `keys`.
pub(super) fn read(bucket: BucketName, keys: &str) -> Grant {
    let name = bucket.name();
    Grant::new(format!("read `{keys}` in the bucket {name}")).publish([
        format!("$JS.API.STREAM.INFO.KV_{name}"),
        format!("$JS.API.DIRECT.GET.KV_{name}.$KV.{name}.{keys}"),
    ])
}

/// To read and write them.
pub(super) fn keep(bucket: BucketName, keys: &str) -> Grant {
    let name = bucket.name();
    let mut grant = read(bucket, keys).publish([format!("$KV.{name}.{keys}")]);
    grant.why = format!("read and write `{keys}` in the bucket {name}");
    grant
}

/// To hear of changes of them.
pub(super) fn watch(bucket: BucketName, keys: &str) -> Grant {
    let name = bucket.name();
    Grant::new(format!("watch `{keys}` in the bucket {name}")).publish([
        format!("$JS.API.CONSUMER.CREATE.KV_{name}"),
        format!("$JS.API.CONSUMER.CREATE.KV_{name}.*.$KV.{name}.{keys}"),
        format!("$JS.API.CONSUMER.DELETE.KV_{name}.*"),
        format!("$JS.FC.KV_{name}.>"),
    ])
}

/// To share work with others by leases of `group`, which may be a wildcard.
pub(super) fn leases(group: &str) -> Grant {
    let bucket = BucketName::Lease;
    let name = bucket.name();
    let watched = watch(bucket, &format!("{group}.>"));
    Grant::new("share work with others of its kind, by leases")
        .publish([
            format!("$JS.API.STREAM.INFO.KV_{name}"),
            format!("$JS.API.STREAM.MSG.GET.KV_{name}"),
            format!("$KV.{name}.{group}.member.*"),
            format!("$KV.{name}.{group}.table"),
        ])
        .publish(watched.publish)
}

/// To hold something for a while, once among all.
pub(super) fn once(why: &str, keys: &str) -> Grant {
    Grant::new(why).publish([
        format!("{ONCE_PREFIX}.{keys}"),
        format!("$JS.API.DIRECT.GET.{ONCE_STREAM}.{ONCE_PREFIX}.{keys}"),
    ])
}

/// To make and mend all that is declared, and read none of it.
pub(super) fn provision() -> Grant {
    let of_streams = all_streams()
        .into_iter()
        .flat_map(|name| ["INFO", "CREATE", "UPDATE"].map(|verb| format!("$JS.API.STREAM.{verb}.{name}")));
    let of_consumers = Stream::ALL.map(Stream::name).into_iter().flat_map(|name| {
        [
            format!("$JS.API.CONSUMER.NAMES.{name}"),
            format!("$JS.API.CONSUMER.CREATE.{name}.>"),
            format!("$JS.API.CONSUMER.INFO.{name}.*"),
            format!("$JS.API.CONSUMER.DELETE.{name}.*"),
        ]
    });
    Grant::new("make and mend streams, consumers and buckets")
        .publish(["$JS.API.INFO".to_owned()])
        .publish(of_streams)
        .publish(of_consumers)
}

/// To see how full streams and buckets are.
pub(super) fn measure() -> Grant {
    Grant::new("see how full streams and buckets are")
        .publish(all_streams().into_iter().map(|name| format!("$JS.API.STREAM.INFO.{name}")))
}

/// To see what waits for whom.
pub(super) fn measure_consumers() -> Grant {
    Grant::new("see what waits for whom")
        .publish(Stream::ALL.map(|stream| format!("$JS.API.CONSUMER.LIST.{}", stream.name())))
}

/// To look at dead letters, remove them, and give them back to where they came from.
pub(super) fn dead_letters() -> Grant {
    let requests = ["STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.PURGE"];
    let back = Platform::ALL.map(|platform| format!("action.{platform}.>"));
    Grant::new("look at dead letters, remove them, give them back")
        .publish(requests.map(|request| format!("$JS.API.{request}.{DEAD_STREAM}")))
        .publish(["event.>", "chatter.*"])
        .publish(back)
}

/// To note what it did.
pub(super) fn note(user: User) -> Grant {
    Grant::new("note what it did").publish([subject::audit(&user.to_string())])
}

/// To read what was done.
pub(super) fn trail() -> Grant {
    Grant::new("read what was done").publish([format!("$JS.API.STREAM.MSG.GET.{AUDIT_STREAM}")])
}

/// To save streams and buckets, and put back those that last.
pub(super) fn snapshots() -> Grant {
    let saved = SAVED.iter().map(|saved| format!("$JS.API.STREAM.SNAPSHOT.{}", saved.name));
    let lasting = SAVED.iter().filter(|saved| saved.lasting);
    let put_back = lasting
        .flat_map(|saved| ["DELETE", "RESTORE"].map(|verb| format!("$JS.API.STREAM.{verb}.{}", saved.name)));
    Grant::new("save streams and buckets, and put back those that last")
        .publish(saved)
        .publish(put_back)
        .subscribe([format!("{SNAPSHOT_PARTS}.*")])
}

/// To pass the parts of a snapshot: those that are put back, and that those that are saved have come.
pub(super) fn parts_of_snapshots() -> Grant {
    Grant::new("pass the parts of snapshots to `APP`").publish([FOR_APP])
}

fn all_streams() -> Vec<String> {
    let buckets = BucketName::ALL.map(|bucket| format!("KV_{}", bucket.name()));
    let others = [AUDIT_STREAM, DEAD_STREAM, ONCE_STREAM].map(str::to_owned);
    Stream::ALL.map(|stream| stream.name().to_owned()).into_iter().chain(others).chain(buckets).collect()
}
