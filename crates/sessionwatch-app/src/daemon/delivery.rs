//! Delivers due messages from the outbox. Each channel has its own worker, so that one that does not respond delays no
//! other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};
use sessionwatch_store::{
    Store, StoreError,
    outbox::{self, OutboxMessage},
    silences,
    transaction::Tx,
};
use tokio::time::{Instant as Monotonic, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonState,
    metrics::DeliveryOutcome,
    scheduled_report::{self, ReportSender},
    tasks::{TaskGroup, wait_to_retry},
};
use crate::{
    alerts,
    app::{LiveEvent, leadership::DELIVERY_LEASE},
    blocking,
    config::Config,
    notify::{self, ChannelKind, ChannelSender, DeliveryError, NotificationChannel, NotificationMessage},
};

/// Interval at which the outbox is polled without a wake-up, for messages that another process queued.
const OUTBOX_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum number of messages read at once, and so delivered together.
const DELIVERY_BATCH_SIZE: u32 = 1_000;
/// Delay before a failed store access is retried.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time that deliveries in flight get to finish on shutdown, reload or loss of the lease.
const DELIVERY_DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Failed attempts before the `channel-failing` alert fires.
const FAILURES_BEFORE_ALERT: u32 = 5;

/// Delivers while this daemon holds the delivery lease, until stopped.
pub(super) async fn run(state: Arc<DaemonState>, config: Arc<Config>, stop: CancellationToken) {
    while let Some(epoch) =
        stop.run_until_cancelled(state.app.lease_manager.wait_for_lease(DELIVERY_LEASE)).await
    {
        // Messages that an earlier leader was sending may have arrived: they are sent again, marked as possible
        // duplicates.
        let (store, clock) = (
            state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, epoch),
            state.app.clock.clone(),
        );
        let resumed = blocking::write_store(&store, move |db| {
            let now = clock.now();
            // In the same transaction, so that a crash in between cannot leave a message unsent and
            // unmarked.
            outbox::clamp_future_due(db, now)?;
            silences::clamp_future_starts(db, now)?;
            outbox::requeue_in_flight(db)
        });
        match resumed.await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(
                count,
                "messages were in flight when the last daemon stopped: resending them as possible duplicates"
            ),
            Err(error) => {
                tracing::error!("cannot start delivery: {error}");
                wait_to_retry(STORE_RETRY_INTERVAL, &stop).await;
                continue;
            }
        }
        run_while_leading(&state, &config, epoch, &stop).await;
    }
}

/// Delivers until the lease is lost, or the daemon stops.
async fn run_while_leading(
    state: &Arc<DaemonState>,
    config: &Arc<Config>,
    epoch: i64,
    stop: &CancellationToken,
) {
    // A group of its own, because a lost lease stops the workers but not this task.
    let workers = TaskGroup::new(state.fatal_errors.clone());
    // Deliveries still running after the drain timeout are dropped, and resent later as possible duplicates.
    let drop_all = CancellationToken::new();
    for channel in config.serve.channels.clone() {
        let worker = Arc::new(ChannelWorker {
            state: Arc::clone(state),
            config: Arc::clone(config),
            channel,
            store: state.app.lease_manager.fenced_store(&state.app.store, DELIVERY_LEASE, epoch),
            stop: workers.stop_token(),
        });
        let dropped = drop_all.clone();
        workers.spawn("channel delivery", async move {
            dropped.run_until_cancelled(worker.run()).await;
        });
    }
    // Here and not per daemon: only the delivery leader may send it, or each daemon would.
    if let Some(report) = config.serve.scheduled_report.clone() {
        let (state, config, stop) = (Arc::clone(state), Arc::clone(config), workers.stop_token());
        let weekly = ReportSender { state, config, report, epoch, stop };
        workers.spawn("scheduled report", scheduled_report::run(weekly));
    }
    let mut ticks = tokio::time::interval(OUTBOX_POLL_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if state.app.lease_manager.epoch(DELIVERY_LEASE) != Some(epoch) {
            break;
        }
    }
    // First politely: a delivery that is nearly finished need not become a possible duplicate.
    if !workers.stop(DELIVERY_DRAIN_TIMEOUT).await {
        drop_all.cancel();
        workers.stop(DELIVERY_DRAIN_TIMEOUT).await;
    }
}

/// Notifies every channel, without the outbox, that the daemon shuts down because its store is gone. Failed deliveries
/// are not retried: the next daemon starts with its own alerts.
pub(super) async fn announce_shutdown(state: &DaemonState, why: &str) {
    let (config, now) = (state.app.config(), state.app.clock.now());
    let message = NotificationMessage {
        schema: 2,
        // Unique per shutdown, since programs on the other side deduplicate by key.
        key: format!("store-file/{}", now.micros()),
        notice: "firing".into(),
        target: "sessionwatch".into(),
        check: "store-file".into(),
        severity: "critical".into(),
        summary: format!("{why}; the daemon is shutting down"),
        since: None,
        at: sessionwatch_clock::format_rfc3339(now),
        finding: None,
        possible_duplicate: false,
        text: None,
    };
    let sending = config.serve.channels.iter().map(async |channel| {
        for problem in notify::send_directly(channel, &message, now).await {
            tracing::error!(channel = channel.name, "delivery failed: {problem}");
        }
    });
    // A channel that does not respond must not delay the shutdown.
    let _ = tokio::time::timeout(DELIVERY_DRAIN_TIMEOUT, futures_util::future::join_all(sending)).await;
}

/// State of a channel after a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelReadiness {
    /// More messages can be sent.
    Ready,
    /// Wait for the next wake-up.
    Paused,
    /// The channel asked to wait until that time.
    RetryAt(UtcTimestamp),
}

/// A due message, decoded.
#[derive(Clone)]
struct PendingMessage {
    due: OutboxMessage,
    /// `None` if the stored message cannot be decoded.
    message: Option<NotificationMessage>,
}

impl PendingMessage {
    fn from_due(due: OutboxMessage) -> Self {
        // Kept as `None`, so that one damaged message is reported and gives up, instead of blocking the
        // channel.
        let message = serde_json::from_str(&due.message).ok();
        let message = message
            .map(|message| NotificationMessage { possible_duplicate: due.possible_duplicate, ..message });
        Self { due, message }
    }
}

/// Messages that were delivered together, with the outcome.
struct DeliveryAttempt {
    group: Vec<PendingMessage>,
    outcome: Result<(), DeliveryError>,
}

impl DeliveryAttempt {
    fn recipient(&self) -> Option<&str> {
        self.group.first().and_then(|pending| pending.due.recipient.as_deref())
    }
}

/// Returns the maximum number of concurrent deliveries to a channel.
fn max_concurrent_deliveries(kind: &ChannelKind) -> usize {
    // Chat services limit messages per second, and mail servers limit connections per sender.
    if kind.is_for_programs() { 8 } else { 4 }
}

/// Delivers the messages of one channel.
struct ChannelWorker {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    channel: NotificationChannel,
    /// Fenced: writes fail once the delivery lease is lost.
    store: Store,
    stop: CancellationToken,
}

impl ChannelWorker {
    async fn run(self: Arc<Self>) {
        let mut sender = ChannelSender::new(&self.channel);
        let mut nudges = self.state.delivery_wakeups.subscribe();
        let mut ticks = tokio::time::interval(OUTBOX_POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut rest) = (self.state.app.clock.now(), None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Never an error: this worker's state holds the sender.
                _ = nudges.changed() => {}
                () = self.wait_until_due(last) => {}
                () = self.stop.cancelled() => return,
            }
            let now = self.state.app.clock.now();
            // After the clock was set back, retry times would lie too far in the future.
            // A second of tolerance, because server clocks are corrected by small steps.
            if now + SECOND < last {
                rest = None;
                self.log_store_error(
                    blocking::write_store(&self.store, move |db| outbox::make_all_due(db, now)).await,
                );
            }
            last = now;
            // The service asked for the pause, so that wake-ups by new messages must not cut it short.
            if rest.is_some_and(|until| now < until) {
                continue;
            }
            if sender.is_err() {
                // The cause, such as a missing certificate file, may be fixed by now.
                sender = ChannelSender::new(&self.channel);
            }
            rest = loop {
                match self.deliver_due(&sender).await {
                    ChannelReadiness::Ready => {}
                    ChannelReadiness::Paused => break None,
                    ChannelReadiness::RetryAt(until) => break Some(until),
                }
            };
        }
    }

    /// Waits until a message becomes due that was not due at `last`.
    async fn wait_until_due(&self, last: UtcTimestamp) {
        let channel = self.channel.name.clone();
        let next =
            blocking::read_store(&self.state.app.store, move |db| outbox::next_due_at(db, &channel, last))
                .await;
        match self.log_store_error(next).flatten() {
            Some(at) => self.state.app.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Delivers due messages until the channel fails or none is left.
    async fn deliver_due(
        self: &Arc<Self>,
        sender: &Result<ChannelSender, DeliveryError>,
    ) -> ChannelReadiness {
        let Some(due) = self.load_due().await else { return ChannelReadiness::Paused };
        let mut groups = group_messages(
            due.into_iter().map(PendingMessage::from_due),
            self.channel.kind.is_for_programs(),
        )
        .into_iter()
        .peekable();
        // Nothing due is not the same as everything delivered: the latter reads again for more.
        let end = if groups.peek().is_none() { ChannelReadiness::Paused } else { ChannelReadiness::Ready };
        let (mut together, most) = (1, max_concurrent_deliveries(&self.channel.kind));
        while groups.peek().is_some() {
            if self.stop.is_cancelled() {
                return ChannelReadiness::Paused;
            }
            let next: Vec<Vec<PendingMessage>> = groups.by_ref().take(together).collect();
            let pace = self.deliver_groups(sender, next).await;
            if pace != ChannelReadiness::Ready {
                return pace;
            }
            // Slow start: a channel that does not respond is tried once, and each success doubles the concurrency.
            together = (together * 2).min(most);
        }
        end
    }

    /// Returns the due messages, after requeuing those whose outcome was never recorded.
    async fn load_due(self: &Arc<Self>) -> Option<Vec<OutboxMessage>> {
        let (this, now) = (Arc::clone(self), self.state.app.clock.now());
        blocking::run(move || {
            let channel = this.channel.name.as_str();
            // Both facts in one read, so that no message is counted as lost while its outcome is being
            // written.
            let read = || {
                let read = this
                    .store
                    .read(|db| Ok((outbox::has_sending_message(db, channel)?, this.list_due(db, now)?)));
                this.log_store_error(read)
            };
            let (unnoted, due) = read()?;
            if !unnoted {
                return Some(due);
            }
            let count =
                this.log_store_error(this.store.write(|db| outbox::requeue_channel_in_flight(db, channel)))?;
            tracing::warn!(
                channel,
                count,
                "unknown whether messages were delivered: resending them as possible duplicates"
            );
            read().map(|(_, due)| due)
        })
        .await
    }

    fn list_due(&self, db: Tx<'_>, now: UtcTimestamp) -> Result<Vec<OutboxMessage>, StoreError> {
        outbox::list_due_messages(db, &self.channel.name, now, DELIVERY_BATCH_SIZE)
    }

    /// Delivers groups of messages concurrently; each group is one delivery.
    async fn deliver_groups(
        self: &Arc<Self>,
        sender: &Result<ChannelSender, DeliveryError>,
        groups: Vec<Vec<PendingMessage>>,
    ) -> ChannelReadiness {
        let store = self.store.clone();
        // Marked before anything is sent, so that after a crash the messages are known as possible duplicates.
        let (groups, marked) = blocking::run(move || {
            let marked = store
                .write(|db| outbox::mark_sending(db, groups.iter().flatten().map(|pending| &pending.due)));
            (groups, marked)
        })
        .await;
        if self.log_store_error(marked).is_none() {
            return ChannelReadiness::Paused;
        }
        let attempts = groups.into_iter().map(|group| self.deliver_group(sender, group));
        // All attempts are awaited: an early return would drop deliveries whose outcome is unknown.
        let attempts = Arc::new(futures_util::future::join_all(attempts).await);
        let now = self.state.app.clock.now();
        let queued = self.record_with_retry(&attempts, now).await;
        // Failures of this channel are announced on others, whose workers may be asleep.
        if queued.is_some_and(|queued| queued > 0) {
            self.state.wake_delivery();
        }
        self.state.app.publish(LiveEvent::DeliveryFinished { channel: self.channel.name.clone() });
        if queued.is_none() {
            // Without a record of success, the messages would be sent over and over.
            return ChannelReadiness::Paused;
        }
        let failures = attempts.iter().filter_map(|attempt| attempt.outcome.as_ref().err());
        // An error of one message says nothing about the channel, so it does not slow the others down.
        let failures: Vec<&DeliveryError> = failures.filter(|failure| !failure.is_message_error()).collect();
        // The longest wait wins: services count all messages of a sender together.
        match failures.iter().filter_map(|failure| failure.retry_after()).max() {
            Some(wait) => ChannelReadiness::RetryAt(now + wait),
            None if failures.is_empty() => ChannelReadiness::Ready,
            None => ChannelReadiness::Paused,
        }
    }

    async fn deliver_group(
        &self,
        sender: &Result<ChannelSender, DeliveryError>,
        group: Vec<PendingMessage>,
    ) -> DeliveryAttempt {
        let (state, channel, begun) = (&self.state, self.channel.name.as_str(), Monotonic::now());
        let outcome = match sender {
            Ok(sender) => self.send_group(sender, &group).await,
            Err(failure) => Err(failure.clone()),
        };
        let delivery = if outcome.is_ok() { DeliveryOutcome::Delivered } else { DeliveryOutcome::Failed };
        state.metrics.record_delivery(channel, begun.elapsed(), delivery);
        if let Err(failure) = &outcome {
            let attempts = group.iter().map(|pending| pending.due.attempts).max().unwrap_or(0) + 1;
            tracing::warn!(channel, count = group.len(), attempts, "delivery failed: {failure}");
        }
        DeliveryAttempt { group, outcome }
    }

    async fn send_group(
        &self,
        sender: &ChannelSender,
        group: &[PendingMessage],
    ) -> Result<(), DeliveryError> {
        let messages: Option<Vec<NotificationMessage>> =
            group.iter().map(|pending| pending.message.clone()).collect();
        let recipient = group.first().and_then(|pending| pending.due.recipient.as_deref());
        let messages = messages.ok_or(DeliveryError::Damaged)?;
        sender.deliver(&self.channel, &messages, recipient, self.state.app.clock.now()).await
    }

    /// Records the outcomes of deliveries, and retries until the store accepts them. Returns the number of
    /// notifications queued for other channels, or `None` once the lease is lost or the daemon stops; the messages are
    /// then resent as possible duplicates.
    async fn record_with_retry(
        self: &Arc<Self>,
        attempts: &Arc<Vec<DeliveryAttempt>>,
        now: UtcTimestamp,
    ) -> Option<u32> {
        loop {
            let (this, attempts) = (Arc::clone(self), Arc::clone(attempts));
            let outcome =
                blocking::run(move || this.store.write(|db| this.record_attempts(db, &attempts, now))).await;
            if matches!(outcome, Err(StoreError::LeaseLost)) || self.stop.is_cancelled() {
                return self.log_store_error(outcome);
            }
            if let Some(queued) = self.log_store_error(outcome) {
                return Some(queued);
            }
            wait_to_retry(STORE_RETRY_INTERVAL, &self.stop).await;
        }
    }

    /// Records the outcomes of deliveries. Returns the number of notifications queued for other channels.
    fn record_attempts(
        &self,
        db: Tx<'_>,
        attempts: &[DeliveryAttempt],
        now: UtcTimestamp,
    ) -> Result<u32, StoreError> {
        let (config, name, mut queued) = (&self.config, self.channel.name.as_str(), 0);
        let delivered = || attempts.iter().filter(|attempt| attempt.outcome.is_ok());
        outbox::mark_delivered(
            db,
            delivered().flat_map(|attempt| &attempt.group).map(|pending| &pending.due),
        )?;
        let reached: BTreeSet<Option<&str>> = delivered().map(DeliveryAttempt::recipient).collect();
        for recipient in reached {
            // A success for one recipient does not resolve the alert while another recipient fails.
            if !outbox::has_failing_message(db, name, recipient, FAILURES_BEFORE_ALERT)? {
                queued += alerts::record_channel_health(db, config, name, None, now)?;
            }
        }
        for attempt in attempts {
            queued += self.record_failure(db, attempt, now)?;
        }
        Ok(queued)
    }

    fn record_failure(
        &self,
        db: Tx<'_>,
        attempt: &DeliveryAttempt,
        now: UtcTimestamp,
    ) -> Result<u32, StoreError> {
        let Err(failure) = &attempt.outcome else { return Ok(0) };
        let (name, why, mut bad) = (self.channel.name.as_str(), failure.to_string(), false);
        for PendingMessage { due, .. } in &attempt.group {
            let due = OutboxMessage {
                // Sticky: once a message may have arrived, each later attempt may be a duplicate.
                possible_duplicate: due.possible_duplicate || failure.may_have_arrived(),
                ..due.clone()
            };
            let dead = outbox::mark_failed(db, &due, &why, failure.retry_after(), now)?;
            if dead {
                tracing::error!(
                    channel = name,
                    key = due.idempotency_key,
                    "message undeliverable, giving up: {why}"
                );
            }
            bad |= dead || due.attempts + 1 >= FAILURES_BEFORE_ALERT;
        }
        if !bad {
            return Ok(0);
        }
        let why = match attempt.recipient() {
            Some(recipient) => format!("{recipient}: {why}"),
            None => why,
        };
        alerts::record_channel_health(db, &self.config, name, Some(&why), now)
    }

    /// Logs a store error and turns it into `None`.
    fn log_store_error<T>(&self, outcome: Result<T, StoreError>) -> Option<T> {
        let channel = &self.channel.name;
        outcome.inspect_err(|error| tracing::error!(channel, "cannot access the outbox: {error}")).ok()
    }
}

/// Groups messages for delivery: for people by check, notice, severity and recipient; for programs (`apart`) one by
/// one.
fn group_messages(due: impl Iterator<Item = PendingMessage>, apart: bool) -> Vec<Vec<PendingMessage>> {
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
