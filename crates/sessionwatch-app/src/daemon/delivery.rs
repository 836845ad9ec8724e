//! Delivery: what is due in the outbox goes out, each channel by itself, so that one that does not answer delays no other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sessionwatch_core::{duration::SECOND, instant::Instant};
use sessionwatch_store::{
    Store, StoreError,
    db::Db,
    outbox::{self, Due},
    silences,
};
use tokio::time::{Instant as Monotonic, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    metrics::DeliveryOutcome,
    tasks::{TaskGroup, wait_to_retry},
    weekly::{self, Weekly},
};
use crate::{
    alerts,
    app::{LiveEvent, leadership::DELIVERY},
    blocking,
    config::Config,
    notify::{self, Channel, DeliveryError, Kind, Message, Sender},
};

/// How often the outbox is looked at without being told to.
const PERIOD: Duration = Duration::from_secs(5);
/// Messages that are read at once, and told together at most.
const AT_ONCE: u32 = 1_000;
/// How long to wait before a store that failed is asked again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a delivery that is under way may still take when this daemon is to stop or to go on otherwise.
const GRACE: Duration = Duration::from_secs(3);
/// Attempts that fail before others are told.
const PATIENT: u32 = 5;

/// Delivers, while this daemon leads the delivery, until it is asked to stop.
pub(super) async fn run(state: Arc<DaemonState>, config: Arc<Config>, stop: CancellationToken) {
    while let Some(term) = stop.run_until_cancelled(state.app.leadership.lead(DELIVERY)).await {
        // What an earlier leader was sending may have arrived.
        let (store, clock) =
            (state.app.leadership.fenced(&state.app.store, DELIVERY, term), state.app.clock.clone());
        let resumed = blocking::write(&store, move |db| {
            let now = clock.now();
            outbox::rebase(db, now)?;
            silences::rebase(db, now)?;
            outbox::resume(db)
        });
        match resumed.await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(
                count,
                "messages were being sent when the last daemon ended: sent again, and marked"
            ),
            Err(error) => {
                tracing::error!("the outbox cannot be used yet: {error}");
                wait_to_retry(STORE_RETRY_INTERVAL, &stop).await;
                continue;
            }
        }
        lead(&state, &config, term, &stop).await;
    }
}

/// Delivers until this daemon leads no more, or is asked to stop.
async fn lead(state: &Arc<DaemonState>, config: &Arc<Config>, term: i64, stop: &CancellationToken) {
    let workers = TaskGroup::new(state.failures.clone());
    // What is under way when its time is up is dropped, and made again later, with the same key and marked.
    let drop_all = CancellationToken::new();
    for channel in config.serve.channels.clone() {
        let worker = Arc::new(Worker {
            state: Arc::clone(state),
            config: Arc::clone(config),
            channel,
            store: state.app.leadership.fenced(&state.app.store, DELIVERY, term),
            stop: workers.token(),
        });
        let dropped = drop_all.clone();
        workers.spawn("the delivery of a channel", async move {
            dropped.run_until_cancelled(worker.run()).await;
        });
    }
    if let Some(report) = config.serve.report.clone() {
        let (state, config, stop) = (Arc::clone(state), Arc::clone(config), workers.token());
        let weekly = Weekly { state, config, report, term, stop };
        workers.spawn("the sending of the checklist", weekly::run(weekly));
    }
    let mut ticks = tokio::time::interval(PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if state.app.leadership.term(DELIVERY) != Some(term) {
            break;
        }
    }
    if !workers.stop(GRACE).await {
        drop_all.cancel();
        workers.stop(GRACE).await;
    }
}

/// Tells every channel, past the outbox, that the daemon ends because its store is gone. What a channel does not take in
/// time is not sent again: the daemon that is started next begins with alerts of its own.
pub(super) async fn announce_end(state: &DaemonState, why: &str) {
    let (config, now) = (state.app.config(), state.app.clock.now());
    let message = Message {
        schema: 1,
        key: format!("store-file/{}", now.micros()),
        notice: "firing".into(),
        target: "sessionwatch".into(),
        check: "store-file".into(),
        severity: "critical".into(),
        summary: format!("{why}; the daemon ends"),
        since: None,
        at: sessionwatch_clock::rfc3339(now),
        finding: None,
        again: false,
        text: None,
    };
    let sending = config.serve.channels.iter().map(async |channel| {
        for problem in notify::send_past_outbox(channel, &message, now).await {
            tracing::error!(channel = channel.name, "not delivered: {problem}");
        }
    });
    // A channel that does not answer holds up nothing.
    let _ = tokio::time::timeout(GRACE, futures_util::future::join_all(sending)).await;
}

/// How a channel takes what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// It takes more.
    On,
    /// Nothing more for now.
    Stop,
    /// It wants nothing before that instant.
    RestUntil(Instant),
}

/// A message that is due, read.
#[derive(Clone)]
struct PendingMessage {
    due: Due,
    /// What is told; `None` if it cannot be read.
    message: Option<Message>,
}

impl PendingMessage {
    fn read(due: Due) -> Self {
        let message = serde_json::from_str(&due.message).ok();
        let message = message.map(|message| Message { again: due.again, ..message });
        Self { due, message }
    }
}

/// Messages that were told together, and how that went.
struct Attempt {
    group: Vec<PendingMessage>,
    outcome: Result<(), DeliveryError>,
}

impl Attempt {
    fn recipient(&self) -> Option<&str> {
        self.group.first().and_then(|pending| pending.due.recipient.as_deref())
    }
}

/// Deliveries that may be under way at the same time.
fn concurrent_deliveries(kind: &Kind) -> usize {
    // A chat counts the messages of a second, and a mail server the connections of a sender.
    if kind.is_for_programs() { 8 } else { 4 }
}

/// What delivers to one channel.
struct Worker {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    channel: Channel,
    /// The store, for what is written under the present term of the delivery.
    store: Store,
    /// Nothing more is to be sent.
    stop: CancellationToken,
}

impl Worker {
    async fn run(self: Arc<Self>) {
        let mut sender = Sender::new(&self.channel);
        let mut nudges = self.state.nudges.subscribe();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut rest) = (self.state.app.clock.now(), None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // The sender is what this worker holds.
                _ = nudges.changed() => {}
                () = self.next_due(last) => {}
                () = self.stop.cancelled() => return,
            }
            let now = self.state.app.clock.now();
            if now + SECOND < last {
                rest = None;
                self.noted(blocking::write(&self.store, move |db| outbox::hurry(db, now)).await);
            }
            last = now;
            if rest.is_some_and(|until| now < until) {
                continue;
            }
            if sender.is_err() {
                // What was missing may be there now.
                sender = Sender::new(&self.channel);
            }
            rest = loop {
                match self.deliver_due(&sender).await {
                    Pace::On => {}
                    Pace::Stop => break None,
                    Pace::RestUntil(until) => break Some(until),
                }
            };
        }
    }

    /// Waits until a message is due that was not at that instant.
    async fn next_due(&self, last: Instant) {
        let channel = self.channel.name.clone();
        let next =
            blocking::read(&self.state.app.store, move |db| outbox::next_due(db, &channel, last)).await;
        match self.noted(next).flatten() {
            Some(at) => self.state.app.clock.wait_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Delivers what is due, until the channel takes no more.
    async fn deliver_due(self: &Arc<Self>, sender: &Result<Sender, DeliveryError>) -> Pace {
        let Some(due) = self.due().await else { return Pace::Stop };
        let mut groups =
            groups(due.into_iter().map(PendingMessage::read), self.channel.kind.is_for_programs())
                .into_iter()
                .peekable();
        let end = if groups.peek().is_none() { Pace::Stop } else { Pace::On };
        let (mut together, most) = (1, concurrent_deliveries(&self.channel.kind));
        while groups.peek().is_some() {
            if self.stop.is_cancelled() {
                return Pace::Stop;
            }
            let next: Vec<Vec<PendingMessage>> = groups.by_ref().take(together).collect();
            let pace = self.deliver(sender, next).await;
            if pace != Pace::On {
                return pace;
            }
            // A channel that does not answer is asked once, and one that does takes more each time.
            together = (together * 2).min(most);
        }
        end
    }

    /// What is due, of which nothing is being sent.
    async fn due(self: &Arc<Self>) -> Option<Vec<Due>> {
        let (this, now) = (Arc::clone(self), self.state.app.clock.now());
        blocking::run(move || {
            let channel = this.channel.name.as_str();
            let read = || {
                let read = this.store.read(|db| Ok((outbox::is_sending(db, channel)?, this.read_due(db, now)?)));
                this.noted(read)
            };
            let (unnoted, due) = read()?;
            if !unnoted {
                return Some(due);
            }
            let count = this.noted(this.store.write(|db| outbox::resume_channel(db, channel)))?;
            tracing::warn!(
                channel,
                count,
                "could not record whether messages were delivered: they are sent again, and marked as repeated"
            );
            read().map(|(_, due)| due)
        })
        .await
    }

    fn read_due(&self, db: Db<'_>, now: Instant) -> Result<Vec<Due>, StoreError> {
        outbox::due(db, &self.channel.name, now, AT_ONCE)
    }

    /// Delivers groups of messages at the same time, each of which is told together.
    async fn deliver(
        self: &Arc<Self>,
        sender: &Result<Sender, DeliveryError>,
        groups: Vec<Vec<PendingMessage>>,
    ) -> Pace {
        let store = self.store.clone();
        let (groups, marked) = blocking::run(move || {
            let marked =
                store.write(|db| outbox::sending(db, groups.iter().flatten().map(|pending| &pending.due)));
            (groups, marked)
        })
        .await;
        if self.noted(marked).is_none() {
            return Pace::Stop;
        }
        let attempts = groups.into_iter().map(|group| self.attempt(sender, group));
        let attempts = Arc::new(futures_util::future::join_all(attempts).await);
        let now = self.state.app.clock.now();
        let told = self.note_until_kept(&attempts, now).await;
        if told.is_some_and(|told| told > 0) {
            self.state.nudge();
        }
        self.state.app.publish(LiveEvent::Delivered { channel: self.channel.name.clone() });
        if told.is_none() {
            // What cannot be noted would be sent for ever.
            return Pace::Stop;
        }
        let failures = attempts.iter().filter_map(|attempt| attempt.outcome.as_ref().err());
        let failures: Vec<&DeliveryError> = failures.filter(|failure| !failure.is_message_error()).collect();
        match failures.iter().filter_map(|failure| failure.retry_after()).max() {
            Some(wait) => Pace::RestUntil(now + wait),
            None if failures.is_empty() => Pace::On,
            None => Pace::Stop,
        }
    }

    /// Delivers messages that are told together.
    async fn attempt(&self, sender: &Result<Sender, DeliveryError>, group: Vec<PendingMessage>) -> Attempt {
        let (state, channel, begun) = (&self.state, self.channel.name.as_str(), Monotonic::now());
        let outcome = match sender {
            Ok(sender) => self.send(sender, &group).await,
            Err(failure) => Err(failure.clone()),
        };
        let delivery = if outcome.is_ok() { DeliveryOutcome::Delivered } else { DeliveryOutcome::Failed };
        state.latest.record_delivery(channel, begun.elapsed(), delivery);
        if let Err(failure) = &outcome {
            let attempts = group.iter().map(|pending| pending.due.attempts).max().unwrap_or(0) + 1;
            tracing::warn!(channel, count = group.len(), attempts, "not delivered: {failure}");
        }
        Attempt { group, outcome }
    }

    async fn send(&self, sender: &Sender, group: &[PendingMessage]) -> Result<(), DeliveryError> {
        let messages: Option<Vec<Message>> = group.iter().map(|pending| pending.message.clone()).collect();
        let recipient = group.first().and_then(|pending| pending.due.recipient.as_deref());
        let messages = messages.ok_or(DeliveryError::Damaged)?;
        sender.deliver(&self.channel, &messages, recipient, self.state.app.clock.now()).await
    }

    /// Records how deliveries went, and tries again until the store takes it. Returns how many messages other channels are to
    /// deliver, or `None` once another daemon delivers or this one is to stop: what was sent is then sent again, and marked.
    async fn note_until_kept(self: &Arc<Self>, attempts: &Arc<Vec<Attempt>>, now: Instant) -> Option<u32> {
        loop {
            let (this, kept) = (Arc::clone(self), Arc::clone(attempts));
            let outcome = blocking::run(move || this.store.write(|db| this.note(db, &kept, now))).await;
            if matches!(outcome, Err(StoreError::Fenced)) || self.stop.is_cancelled() {
                return self.noted(outcome);
            }
            if let Some(told) = self.noted(outcome) {
                return Some(told);
            }
            wait_to_retry(STORE_RETRY_INTERVAL, &self.stop).await;
        }
    }

    /// Notes how deliveries went: how many messages are to be delivered by others.
    fn note(&self, db: Db<'_>, attempts: &[Attempt], now: Instant) -> Result<u32, StoreError> {
        let (config, name, mut told) = (&self.config, self.channel.name.as_str(), 0);
        let delivered = || attempts.iter().filter(|attempt| attempt.outcome.is_ok());
        outbox::delivered(db, delivered().flat_map(|attempt| &attempt.group).map(|pending| &pending.due))?;
        let reached: BTreeSet<Option<&str>> = delivered().map(Attempt::recipient).collect();
        for recipient in reached {
            // One recipient that is reached says nothing of another that is not.
            if !outbox::is_stuck(db, name, recipient, PATIENT)? {
                told += alerts::record_channel_health(db, config, name, None, now)?;
            }
        }
        for attempt in attempts {
            told += self.note_failure(db, attempt, now)?;
        }
        Ok(told)
    }

    fn note_failure(&self, db: Db<'_>, attempt: &Attempt, now: Instant) -> Result<u32, StoreError> {
        let Err(failure) = &attempt.outcome else { return Ok(0) };
        let (name, why, mut bad) = (self.channel.name.as_str(), failure.to_string(), false);
        for PendingMessage { due, .. } in &attempt.group {
            let due = Due { again: due.again || failure.may_have_arrived(), ..due.clone() };
            let dead = outbox::failed(db, &due, &why, failure.retry_after(), now)?;
            if dead {
                tracing::error!(channel = name, key = due.key, "given up: {why}");
            }
            bad |= dead || due.attempts + 1 >= PATIENT;
        }
        if !bad {
            return Ok(0);
        }
        let why = match attempt.recipient() {
            Some(recipient) => format!("{why}, for {recipient}"),
            None => why,
        };
        alerts::record_channel_health(db, &self.config, name, Some(&why), now)
    }

    /// What came of using the store; nothing if it failed, which is said.
    fn noted<T>(&self, outcome: Result<T, StoreError>) -> Option<T> {
        let channel = &self.channel.name;
        outcome.inspect_err(|error| tracing::error!(channel, "the outbox cannot be used: {error}")).ok()
    }
}

/// Messages that are told together: to people those of one check and notice, to programs each by itself.
fn groups(due: impl Iterator<Item = PendingMessage>, apart: bool) -> Vec<Vec<PendingMessage>> {
    let mut groups: Vec<(Option<[String; 4]>, Vec<PendingMessage>)> = vec![];
    for pending in due {
        let kind = pending.message.as_ref().filter(|_| !apart).map(|message| {
            let recipient = pending.due.recipient.clone().unwrap_or_default();
            [message.check.clone(), message.notice.clone(), message.severity.clone(), recipient]
        });
        match groups.iter_mut().find(|(known, _)| kind.is_some() && *known == kind) {
            Some((_, group)) => group.push(pending),
            None => groups.push((kind, vec![pending])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
