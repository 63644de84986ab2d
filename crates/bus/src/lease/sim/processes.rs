//! What the members of the simulation do with what reaches them.

use std::{collections::BTreeSet, time::Duration};

use super::{
    super::{
        machine::{Do, Found, Outcome, TableValue, Time},
        rules::ANSWER_LIMIT,
    },
    Answer, Event, Record, Value, World,
};

impl World {
    pub(super) fn process_event(&mut self, id: usize, event: Event) {
        // A request under way arrives even if its sender is dead or paused.
        if let Event::Arrive(request, step) = event {
            return self.arrive(id, request, step);
        }
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.paused && !matches!(event, Event::Resume) {
            process.held_back.push(event);
            return;
        }
        let now = self.now - process.started;
        match event {
            // A later one was set since.
            Event::Wake if process.wake > self.now => return,
            Event::Resume => {
                process.paused = false;
                process.owned = (BTreeSet::new(), Time::ZERO);
                for event in std::mem::take(&mut process.held_back) {
                    self.at(self.now, id, event);
                }
            }
            Event::Answer(request, step, answer) if process.request == Some(request) => {
                process.request = None;
                self.answered(id, step, answer, now);
            }
            Event::Deliver { watch, key, record, last } if process.watch == Some(watch) => {
                let Record { revision, value } = record;
                match value {
                    _ if key == "table" => process.machine.saw_table(revision, readable(value)),
                    Some(Value::Member(presence)) => {
                        process.machine.saw_member(&key, revision, Some(presence), now);
                    }
                    _ => process.machine.saw_member(&key, revision, None, now),
                }
                if last {
                    process.machine.caught_up();
                }
            }
            Event::Ready(resource) => {
                process.told.remove(&resource);
                process.machine.ready(&resource);
            }
            Event::Release(resource) => {
                process.told.remove(&resource);
                process.machine.release(&resource);
            }
            Event::Linked if self.server_up => {
                (process.linked, process.watch) = (true, None);
                process.machine.reconnected(now);
            }
            Event::Able => process.machine.set_able(true, now),
            Event::Finish => process.machine.finish(),
            _ => {}
        }
        self.proceed(id);
    }

    fn proceed(&mut self, id: usize) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.paused || process.request.is_some() {
            return;
        }
        let now = self.now - process.started;
        if process.linked
            && let Some(step) = process.machine.next(now)
        {
            return self.request(id, step);
        }
        if process.machine.ended() {
            assert!(!process.machine.replaced(), "seed {}: nobody took its name", self.seed);
            self.processes.remove(&id);
            return;
        }
        let wake = process.started + process.machine.wake().max(now + Duration::from_millis(1));
        let standing = process.machine.standing(now);
        let mut told = Vec::new();
        for (resources, event) in [
            (standing.preparing, Event::Ready as fn(String) -> Event),
            (standing.asked, Event::Release as fn(String) -> Event),
        ] {
            told.extend(resources.into_iter().filter(|it| process.told.insert(it.clone())).map(event));
        }
        let wake = if process.linked { wake } else { wake.max(self.now + Duration::from_millis(250)) };
        let sooner = process.wake <= self.now || wake < process.wake;
        if sooner {
            process.wake = wake;
            self.at(wake, id, Event::Wake);
        }
        for event in told {
            let time = self.millis(0..400);
            self.at(self.now + time, id, event);
        }
    }

    fn request(&mut self, id: usize, step: Do) {
        let request = self.id();
        self.processes.get_mut(&id).unwrap().request = Some(request);
        self.at(self.now + ANSWER_LIMIT, id, Event::Answer(request, step.clone(), Answer::Failed));
        if !self.chance(4) {
            let delay = if self.chance(4) { self.millis(0..6000) } else { self.millis(0..15) };
            self.at(self.now + delay, id, Event::Arrive(request, step));
        }
    }

    fn arrive(&mut self, id: usize, request: u64, step: Do) {
        let answer = match &step {
            Do::Leave { expected } if self.server_up => {
                // Of a process that died meanwhile only the name is gone: it leaves no trace here.
                let Some(instance) = self.processes.get(&id).map(|it| it.instance.clone()) else { return };
                Answer::Written(self.write(&instance, None, *expected))
            }
            _ => self.execute(&step),
        };
        if !self.chance(4) {
            let delay = if self.chance(3) { self.millis(0..1500) } else { self.millis(0..15) };
            self.at(self.now + delay, id, Event::Answer(request, step, answer));
        }
    }

    fn answered(&mut self, id: usize, step: Do, answer: Answer, now: Time) {
        let outcome = match &answer {
            Answer::Written(outcome) => *outcome,
            _ => Outcome::Unknown,
        };
        let read = match answer {
            Answer::Read(record) => Some(record),
            _ => None,
        };
        let machine = &mut self.processes.get_mut(&id).unwrap().machine;
        match step {
            Do::Examine { instance, suspects } => {
                let found = read.map(|Record { revision, value }| match value {
                    Some(Value::Member(presence)) => Found { revision, value: Some(presence) },
                    _ => Found { revision, value: None },
                });
                machine.examined(&instance, suspects, found, now);
            }
            Do::Renew { .. } => machine.renewed(outcome, now),
            Do::Evict { instance, .. } => machine.evicted(&instance, outcome, now),
            Do::Leave { .. } => machine.departed(outcome, now),
            Do::ReadTable => {
                let found =
                    read.map(|record| Found { revision: record.revision, value: readable(record.value) });
                machine.table_read(found.ok_or(()), now);
            }
            Do::WriteTable { table, .. } => machine.table_written(table, outcome, now),
            Do::Watch => self.open_watch(id, read.is_some(), now),
        }
    }

    fn open_watch(&mut self, id: usize, opened: bool, now: Time) {
        let watch = self.id();
        let process = self.processes.get_mut(&id).unwrap();
        process.machine.watch_opened(opened, now);
        process.watch = opened.then_some(watch);
        // A key that is written while it is read may be missing from what there was.
        let records: Vec<(String, Record)> = self.server.clone().into_iter().collect();
        let records: Vec<_> = records.into_iter().filter(|_| !self.chance(3)).collect();
        let count = records.len();
        for (n, (key, record)) in records.into_iter().enumerate() {
            self.deliver(id, &key, record, n + 1 == count);
        }
    }
}

fn readable(value: Option<Value>) -> Option<TableValue> {
    match value {
        Some(Value::Table(table)) => Some(TableValue::Readable(table)),
        _ => None,
    }
}
